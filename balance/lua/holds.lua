-- What a lot holds now, for the warning before it expires. It walks the lots that
-- expire before it: timers alone call it.
-- KEYS: account, lots   ARGV: lot
-- Returns: micros in digits; 0 for a lot that is gone
local a = redis.call('HMGET', KEYS[1], 'spent', 'forfeited', 'gone')
local upto, used = tonumber(a[3] or '0'), tonumber(a[1] or '0') + tonumber(a[2] or '0')
for _, lot in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  local amount = tonumber(string.match(lot, ':(%d+):'))
  upto = upto + amount
  if lot == ARGV[1] then return string.format('%.0f', math.max(0, math.min(amount, upto - used))) end
end
return '0'
