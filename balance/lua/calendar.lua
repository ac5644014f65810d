-- Calendar arithmetic in UTC, on milliseconds since 1970, for years 1970 to 9999.

local DAY = 86400000
local floor = math.floor

local function newyear(y)                        -- days from 1 January 1970 to that of y
  return 365 * (y - 1970) + floor((y - 1969) / 4) - floor((y - 1901) / 100) + floor((y - 1601) / 400)
end

local LENGTH = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }
local function length(y, m)
  if m == 2 and newyear(y + 1) - newyear(y) == 366 then return 29 end
  return LENGTH[m]
end

-- Year, month and day of ms.
local function date(ms)
  local d = floor(ms / DAY)
  local y = 1970 + floor(d / 366)
  while newyear(y + 1) <= d do y = y + 1 end
  d = d - newyear(y)
  local m = 1
  while d >= length(y, m) do d = d - length(y, m); m = m + 1 end
  return y, m, d + 1
end

-- The ms of the same day and time that many months after ms; of the last day of a
-- month that is too short for it (29 February and a year: 28 February).
local function months_after(ms, months)
  local y, m, d = date(ms)
  local n = y * 12 + m - 1 + months
  y, m = floor(n / 12), n % 12 + 1
  local days = newyear(y) + math.min(d, length(y, m)) - 1
  for i = 1, m - 1 do days = days + length(y, i) end
  return days * DAY + ms % DAY
end

-- The ms at which the month of ms ends.
local function month_end(ms)
  local _, _, d = date(ms)
  return months_after((floor(ms / DAY) - d + 1) * DAY, 1)
end
