-- Confirms the marks of one shard for many sources, and moves those that have
-- seen records of other shards only.
-- KEYS: marks   ARGV: per source: source, expected mark (prefix), new mark
-- Returns: per source 1 (confirmed) or 0 (refused)
local reply = {}
for i = 1, #ARGV, 3 do
  local mark = redis.call('HGET', KEYS[1], ARGV[i]) or '0 - -1 - 0'
  local same = string.sub(mark, 1, #ARGV[i + 1]) == ARGV[i + 1]
  if same and mark ~= ARGV[i + 2] then redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2]) end
  reply[#reply + 1] = same and 1 or 0
end
return reply
