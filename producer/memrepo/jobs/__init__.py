"""A request on its way, as its caller sees it: polled, waited for, awaited, cancelled."""
