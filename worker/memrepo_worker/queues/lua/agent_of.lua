local function agent_of(message)
    -- Whose request a message says it is, as it was counted; nil where it says nothing.
    return string.match(string.sub(message, -4096), '"kwargsrepr"%s*:%s*"([^%s"]+/[^%s"]+)')
end
