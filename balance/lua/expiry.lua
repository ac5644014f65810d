-- What a lot that is due still holds; refused while the shard may not have seen
-- every call that it should pay for (design section 5).
-- KEYS: marks, account, lots   ARGV: lot, due time (ms), then per source: source, log end, 1 if append time counts
-- Returns: {'OK', micros} | {'LAG', source} | {'GONE'} | {'WAIT'} (another lot expires first)
local due = tonumber(ARGV[2])
for i = 3, #ARGV, 3 do
  local mark = redis.call('HGET', KEYS[1], ARGV[i]) or '0 - -1 - 0'
  local next, at = string.match(mark, '^(%d+) %S+ %S+ %S+ (-?%d+)$')
  local past = ARGV[i + 2] == '1' and tonumber(at) > due
  if tonumber(next) < tonumber(ARGV[i + 1]) and not past then return { 'LAG', ARGV[i] } end
end
if not redis.call('ZSCORE', KEYS[3], ARGV[1]) then return { 'GONE' } end
local first = redis.call('ZRANGE', KEYS[3], 0, 0)[1]
if first ~= ARGV[1] then return { 'WAIT' } end
local a = redis.call('HMGET', KEYS[2], 'spent', 'forfeited', 'gone')
local amount = tonumber(string.match(ARGV[1], ':(%d+):'))
local left = tonumber(a[3] or '0') + amount - tonumber(a[1]) - tonumber(a[2])
left = math.max(0, math.min(amount, left))
if left == 0 then return { 'OK', '0' } end
return { 'OK', string.format('%.0f', left) }
