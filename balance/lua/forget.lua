-- Drops the ids of one slice of answer time when no CDR of that time can be
-- charged any more (rule 8).
-- KEYS: marks, the slice's set   ARGV: end of the slice plus window (ms), slice, then per cdrs source: source, log end
-- Returns: 1 (dropped) | 0 (too early)
for i = 3, #ARGV, 2 do
  local mark = redis.call('HGET', KEYS[1], ARGV[i]) or '0 - -1 - 0'
  local next, at = string.match(mark, '^(%d+) %S+ %S+ %S+ (-?%d+)$')
  if tonumber(at) <= tonumber(ARGV[1]) and tonumber(next) < tonumber(ARGV[i + 1]) then return 0 end
end
redis.call('UNLINK', KEYS[2])
redis.call('HSET', KEYS[1], 'forgotten', ARGV[2])
return 1
