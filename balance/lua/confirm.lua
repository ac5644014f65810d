-- Confirms the marks of one shard for many sources, moves those that have seen
-- records of other shards only, and trims what is published.
-- KEYS: marks, then an outbox per source   ARGV: per source: source, expected mark (prefix), new mark, trims
-- Returns: per source 1 (confirmed) or 0 (refused)
local reply = {}
for i = 1, #KEYS - 1 do
  local source, expected, new, trims = unpack(ARGV, 4 * i - 3, 4 * i)
  local mark = redis.call('HGET', KEYS[1], source) or '0 - -1 - 0'
  local same = string.sub(mark, 1, #expected) == expected
  if same then
    if mark ~= new then redis.call('HSET', KEYS[1], source, new) end
    trim(KEYS[1 + i], trims)
  end
  reply[i] = same and 1 or 0
end
return reply
