"""Everything that decodes what others may have written, given what nobody would write."""
