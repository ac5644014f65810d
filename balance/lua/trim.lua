-- Removes published entries from an outbox, after the compare-and-set on the name
-- of its last entry has passed: so this is the caller's history, in which whatever
-- lies before a published entry was published before it. names: oldest first.
local function trim(outbox, names)
  local last
  local count = 0
  for name in string.gmatch(names, '%S+') do last, count = name, count + 1 end
  for i = 0, count + 100 do        -- a failover may have brought some back
    local item = last and redis.call('LINDEX', outbox, i)
    if not item then return end
    if string.sub(item, 1, 41) == last .. '\n' then return redis.call('LTRIM', outbox, i + 1, -1) end
  end
end
