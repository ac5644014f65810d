-- Whether recharge n of an account still wants an answer, once every command that
-- was in the log at a take-over is applied (rule 10).
-- KEYS: marks, account   ARGV: source, offset that the mark must have reached, n
-- Returns: 1 (open) | 0 (answered) | -1 (the mark is lower)
local mark = redis.call('HGET', KEYS[1], ARGV[1]) or '0 - -1 - 0'
if tonumber(string.match(mark, '^%d+')) < tonumber(ARGV[2]) then return -1 end
local a = redis.call('HMGET', KEYS[2], 'n', 'state')
if a[1] == ARGV[3] and (a[2] == 'pending' or a[2] == 'unresolved') then return 1 end
return 0
