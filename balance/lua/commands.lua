-- What each command does to an account. An effect gets the batch b (see
-- apply_commands), the account t and the command c; it changes t, collects writes
-- with b.write and events with b.emit, and returns nil or why it refuses. Whether
-- it refuses depends on earlier commands alone, never on the balance (rule 6).

for _, f in ipairs({ 'pm', 'soft', 'gone', 'open', 'adjusted', 'lows', 'last', 'months', 'entries', 'caps', 'day', 'day_n',
  'day_sum', 'month', 'month_n', 'month_sum', 'again', 'most' }) do
  FIELDS[#FIELDS + 1] = f                        -- that calls do not look at
end
TEXT.pm, TEXT.lows, TEXT.months, TEXT.caps, TEXT.most = '', '', '', '', ''

local SOFT_WAITS = { 3600000, 21600000 }         -- ms after the first and the second soft decline
local ANSWER_WAIT = 900000                       -- ms until a request without answer is unresolved
local LEDGER = 1000                              -- entries kept per account
local VALID = 12                                 -- months that what is bought is valid
local WARN = { 30, 7, 1 }                        -- days before its expiry (WarnDays)

local function timer(kind, t, key) return kind .. '/' .. t.id .. '/' .. key end

local function ledger(b, t, kind, amount, ref)
  t.entries = t.entries + 1
  b.write('LPUSH', t.keys.ledger, table.concat({ fmt(t.entries), kind, amount, b.at, ref }, ' '))
  b.write('LTRIM', t.keys.ledger, 0, LEDGER - 1)
end

-- Sets the timer of the next warning before a lot expires, the first one of those
-- that are fewer than that many days before.
local function warn(b, t, lot, expires, before)
  for _, days in ipairs(WARN) do
    if days < before and expires - days * DAY > b.now then
      return b.put(b.due, fmt(expires - days * DAY), timer('warn', t, days .. ':' .. lot))
    end
  end
end

-- Adds a lot; it makes every wish made before stale.
local function credit(b, t, kind, amount, name, expires, ref)
  t.funded = t.funded + tonumber(amount)
  t.seen = t.seen + 1
  local lot = name .. ':' .. amount .. ':' .. b.at
  t.lots[lot] = expires
  b.put(t.keys.lots, fmt(expires), lot)
  b.put(b.due, fmt(expires + b.grace), timer('expire', t, lot))
  warn(b, t, lot, expires, math.huge)
  ledger(b, t, kind, amount, ref)
end

-- The levels that are in force: amounts, and percentages of the last purchase.
local function set_levels(t)
  local list, out = {}, {}
  for l in string.gmatch(t.lows, '[^,]+') do
    local percent = string.match(l, '^(%d+)%%$')
    if not percent then list[#list + 1] = tonumber(l)
    elseif t.last > 0 then                       -- by parts: the whole product may not be exact
      local rest = t.last % 100
      list[#list + 1] = (t.last - rest) / 100 * percent + math.floor(rest * percent / 100)
    end
  end
  table.sort(list, function(x, y) return x > y end)
  for _, l in ipairs(list) do
    if fmt(l) ~= out[#out] then out[#out + 1] = fmt(l) end
  end
  t.levels = table.concat(out, ',')
end

-- When what is bought now expires.
local function validity(b, t) return months_after(b.now, t.months == '' and VALID or tonumber(t.months)) end

-- Ends a suspension, or the wait after a soft decline.
local function resume(b, t)
  if t.state == 'suspended' then b.emit(t, 'account.resumed') end
  t.state, t.soft = 'idle', 0
end

-- Adds a lot that somebody has paid for: that ends a suspension.
local function fund(b, t, kind, amount, name, ref)
  local expires = validity(b, t)
  credit(b, t, kind, amount, name, expires, ref)
  if t.state == 'suspended' then resume(b, t) end
  t.last = tonumber(amount)
  set_levels(t)
  return ' amount=' .. amount .. ' expires_at=' .. fmt(expires)
end

-- What a grant and an adjustment say for people.
local function said_by(c) return ' reason=' .. c.reason .. ' operator=' .. c.operator end

-- The name of the lot that the command makes.
local function named(b, letter) return letter .. string.sub(redis.sha1hex(b.id), 1, 12) end

-- What the customer called the command: the API puts a verb before it.
local function key(b)
  return string.match(b.id, '^top%-up/(.+)$') or string.match(b.id, '^grant/(.+)$') or string.match(b.id, '^adjust/(.+)$') or b.id
end

-- What is remembered of recharge n: its state (open, declined, paid), its amount
-- and when it was asked for.
local function recharge(b, t, n)
  local r = b.recall(t, 'r/' .. n)
  if not r then return nil end
  return string.match(r, '^(%a+) (%d+) (%d+)$')
end

-- The windows of the caps that b.now is in. Time that goes back stays in them.
local function windows(b, t)
  local day = floor(b.now / DAY)
  local y, m = date(b.now)
  local month = y * 12 + m - 1
  if day > t.day then t.day, t.day_n, t.day_sum = day, 0, 0 end
  if month > t.month then t.month, t.month_n, t.month_sum = month, 0, 0 end
end

-- Counts money in the caps' windows.
local function count(b, t, amount)
  windows(b, t)
  t.day_sum, t.month_sum = t.day_sum + amount, t.month_sum + amount
end

-- Count and sum of a day and of a month; nil or empty where there is no cap.
local function caps_of(text) return string.match(text, '^(%d*),(%d*),(%d*),(%d*)$') end

-- The part of amount that the caps leave, in whole recharges; or nil, why not (the
-- reason and the cap) and when to ask again.
local function capped(b, t, amount)
  windows(b, t)
  local one = tonumber(t.recharge)
  if t.most ~= '' then amount = math.min(amount, math.max(1, math.floor(tonumber(t.most) / one)) * one) end
  local dn, ds, mn, ms = caps_of(t.caps)
  local function left(sum, cap) return math.floor(math.min(amount, tonumber(cap) - sum) / one) * one end
  for _, w in ipairs({ { 'month', mn, ms, t.month_n, t.month_sum }, { 'day', dn, ds, t.day_n, t.day_sum } }) do
    local name, n, cap, had, sum = unpack(w)
    local why = n and n ~= '' and had >= tonumber(n) and '_count cap_count=' .. n
    if not why and cap and cap ~= '' then
      if left(sum, cap) < one then why = '_amount cap_amount=' .. cap else amount = left(sum, cap) end
    end
    if why then return nil, name .. why, name == 'day' and (t.day + 1) * DAY or month_end(b.now) end
  end
  return amount
end

local EFFECTS = {}

-- Whether c changes any of the settings of auto-recharge.
local function changes_recharge(t, c)
  for _, f in ipairs({ 'auto', 'trigger', 'recharge', 'pm', 'caps' }) do
    if c[f] and c[f] ~= t[f] then return true end
  end
end

EFFECTS['account.put'] = function(b, t, c)
  if c.cur and t.cur ~= '' and c.cur ~= t.cur then return 'currency_is_fixed' end
  if t.closed == '1' and not c.reopen then return 'account_closed' end
  local auto, trigger, amount, pm = c.auto or t.auto, c.trigger or t.trigger, c.recharge or t.recharge, c.pm or t.pm
  if auto == '1' and (trigger == '' or amount == '' or pm == '') then return 'auto_recharge_incomplete' end
  local caps = c.caps or t.caps
  local _, day, _, month = caps_of(caps)
  local least = math.min(tonumber(day) or math.huge, tonumber(month) or math.huge)
  if amount ~= '' and least < tonumber(amount) then return 'cap_below_amount' end
  -- a new payment method, or switching it on, is tried at once
  if (t.state == 'suspended' or t.state == 'cooling') and (pm ~= t.pm or auto == '1' and t.auto ~= '1') then
    resume(b, t)
  elseif t.state == 'capped' and changes_recharge(t, c) then
    t.state = 'idle'
  end
  t.auto, t.trigger, t.recharge, t.pm, t.caps, t.months = auto, trigger, amount, pm, caps, c.months or t.months
  t.most = c.most or t.most
  if c.lows and c.lows ~= t.lows then
    t.lows, t.low = c.lows, ''
    set_levels(t)
  end
  t.overdraft = c.overdraft or t.overdraft
  for _, f in ipairs({ 'blocked', 'risk' }) do
    if c[f] then b.write('HSET', t.keys.account, f, c[f]) end
  end
  t.cur, t.closed, t.seen = c.cur or t.cur, '0', t.seen + 1
end

EFFECTS['account.close'] = function(b, t)
  if t.closed == '1' then return 'already_closed' end
  t.closed, t.seen = '1', t.seen + 1
  b.emit(t, 'account.closed')
end

EFFECTS['funds.top_up'] = function(b, t, c)
  if t.funded + tonumber(c.amount) > BOUND then return 'out_of_bounds' end
  local more = fund(b, t, 'top_up', c.amount, named(b, 't'), key(b))
  b.emit(t, 'funds.added', more .. ' kind=top_up reference=' .. key(b))
end

EFFECTS['funds.grant'] = function(b, t, c)
  if c.currency and c.currency ~= t.cur then return 'currency_mismatch' end
  if tonumber(c.expires) <= b.now then return 'already_expired' end
  if t.funded + tonumber(c.amount) > BOUND then return 'out_of_bounds' end
  credit(b, t, 'promotion', c.amount, named(b, 'p'), tonumber(c.expires), key(b))
  b.emit(t, 'funds.added', ' amount=' .. c.amount .. ' expires_at=' .. c.expires .. ' kind=promotion reference=' .. key(b) .. said_by(c))
end

-- Above zero it is a lot of its own: what was spent may have come from lots that
-- are gone. Below zero it is spent, like a call.
EFFECTS['funds.adjust'] = function(b, t, c)
  if c.currency ~= t.cur then return 'currency_mismatch' end
  local amount, more = tonumber(c.amount), ' amount=' .. c.amount
  if amount > 0 then
    if t.funded + amount > BOUND then return 'out_of_bounds' end
    local expires = validity(b, t)
    credit(b, t, 'adjustment', c.amount, named(b, 'a'), expires, key(b))
    more = more .. ' expires_at=' .. fmt(expires)
  else
    if t.adjusted - amount > MOST then return 'out_of_bounds' end
    t.spent, t.adjusted = t.spent - amount, t.adjusted - amount
    if t.spent > BOUND or balance(t) < -BOUND then b.beyond = t.id end
    ledger(b, t, 'adjustment', c.amount, key(b))
  end
  b.emit(t, 'funds.adjusted', more .. ' reference=' .. key(b) .. said_by(c))
end

EFFECTS['recharge.request'] = function(b, t, c)
  if tonumber(c.n) ~= t.n + 1 then return 'not_next' end
  if not recharges(t) then return 'not_idle' end
  if tonumber(c.seen) ~= t.seen then return 'stale' end
  local amount, why, again = capped(b, t, tonumber(c.amount))
  if not amount then
    t.state, t.again = 'capped', again
    b.put(b.due, fmt(again), timer('retry', t, c.n))
    b.emit(t, 'recharge.suppressed', ' amount=' .. c.amount .. ' reason=' .. why .. ' until=' .. fmt(again))
    return 'over_cap'
  end
  if t.funded + amount > BOUND then              -- it could be paid, but not credited
    t.state = 'suspended'
    b.emit(t, 'account.suspended', ' amount=' .. fmt(amount) .. ' reason=out_of_bounds')
    return 'out_of_bounds'
  end
  t.n, t.state, t.open = t.n + 1, 'pending', amount
  t.day_n, t.month_n = t.day_n + 1, t.month_n + 1
  count(b, t, amount)
  amount = fmt(amount)
  b.remember(t, 'r/' .. c.n, 'open ' .. amount .. ' ' .. b.at)
  b.put(b.due, fmt(b.now + ANSWER_WAIT), timer('unanswered', t, c.n))
  b.line(table.concat({ 'p', t.id, c.n, amount, t.cur, t.pm, b.offset, b.at }, ' '))
  b.emit(t, 'recharge.requested', ' n=' .. c.n .. ' amount=' .. amount .. ' requests_today=' .. fmt(t.day_n))
end

local function mismatch(b, t, c, why, asked)
  local more = ' n=' .. c.n .. ' reason=' .. why .. ' amount=' .. (c.amount or '0') .. ' paid_currency=' .. (c.currency or '-')
  b.emit(t, 'recharge.mismatched', more .. (asked and ' requested=' .. asked or ''))
end

local function succeeded(b, t, c, was, asked, at)
  if c.currency ~= t.cur then mismatch(b, t, c, 'currency', asked); return 'currency_mismatch' end
  if c.amount ~= asked then mismatch(b, t, c, 'amount', asked) end    -- it may have been paid twice
  if was == 'paid' then return 'already_credited' end
  if t.funded + tonumber(c.amount) > BOUND then mismatch(b, t, c, 'out_of_bounds', asked); return 'out_of_bounds' end
  if was == 'declined' then count(b, t, tonumber(c.amount)) end
  b.remember(t, 'r/' .. c.n, 'paid ' .. c.amount .. ' ' .. at)
  local more = fund(b, t, 'recharge', c.amount, 'r' .. c.n, t.id .. '/' .. c.n)
  t.soft = 0
  if tonumber(c.n) == t.n and t.state ~= 'capped' then t.state, t.open = 'idle', 0 end
  b.drop(b.due, timer('unanswered', t, c.n), timer('retry', t, c.n))
  b.emit(t, 'recharge.succeeded', ' n=' .. c.n .. more)
end

-- Gives the money of a declined request back to the caps' windows, if it was
-- asked for in them; the request stays counted.
local function uncount(b, t, asked, at)
  windows(b, t)
  local y, m = date(at)
  if floor(at / DAY) == t.day then t.day_sum = math.max(0, t.day_sum - asked) end
  if y * 12 + m - 1 == t.month then t.month_sum = math.max(0, t.month_sum - asked) end
end

local function declined(b, t, c, was, asked, at)
  if was ~= 'open' then return 'already_answered' end
  b.remember(t, 'r/' .. c.n, 'declined ' .. asked .. ' ' .. at)
  uncount(b, t, tonumber(asked), tonumber(at))
  if tonumber(c.n) ~= t.n or t.state ~= 'pending' and t.state ~= 'unresolved' then    -- it was abandoned
    if t.state == 'capped' then t.state = 'idle' end                                  -- its money is free again
    return
  end
  b.drop(b.due, timer('unanswered', t, c.n))
  t.soft, t.open = t.soft + 1, 0
  local wait = c.class == 'soft' and SOFT_WAITS[t.soft]
  local what = ' n=' .. c.n .. ' amount=' .. asked .. ' code=' .. c.code .. ' class=' .. c.class
  if wait then
    t.state, t.again = 'cooling', b.now + wait
    b.put(b.due, fmt(t.again), timer('retry', t, c.n))
    b.emit(t, 'recharge.failed', what .. ' next=cooling retry_at=' .. fmt(b.now + wait))
    return
  end
  t.state, t.soft = 'suspended', 0
  b.emit(t, 'recharge.failed', what .. ' next=suspended')
  b.emit(t, 'account.suspended', what .. ' reason=' .. (c.class == 'soft' and 'soft_limit' or c.class))
end

EFFECTS['recharge.result'] = function(b, t, c)
  local was, asked, at = recharge(b, t, c.n)
  if not was then mismatch(b, t, c, 'no_request'); return 'no_request' end
  if c.status == 'succeeded' then return succeeded(b, t, c, was, asked, at) end
  return declined(b, t, c, was, asked, at)
end

-- A timer is judged by append time: the clock of whoever looked at it may be ahead.
-- One that comes too early stays due.

EFFECTS['recharge.unanswered'] = function(b, t, c)
  local _, _, at = recharge(b, t, c.n)
  if at and b.now < tonumber(at) + ANSWER_WAIT then return 'too_early' end
  b.drop(b.due, timer('unanswered', t, c.n))
  if tonumber(c.n) ~= t.n or t.state ~= 'pending' then return 'not_pending' end
  t.state = 'unresolved'
  b.emit(t, 'recharge.unresolved', ' n=' .. c.n .. ' amount=' .. fmt(t.open))
end

-- Of a request that was declined, or of the next one, which a cap held back.
EFFECTS['recharge.retry'] = function(b, t, c)
  local n = tonumber(c.n)
  local waits = t.state == 'cooling' and n == t.n or t.state == 'capped' and n == t.n + 1
  if waits and b.now < t.again then return 'too_early' end
  b.drop(b.due, timer('retry', t, c.n))
  if not waits then return 'not_waiting' end
  t.state = 'idle'
end

EFFECTS['recharge.abandon'] = function(_, t, c)
  if tonumber(c.n) ~= t.n or t.state ~= 'unresolved' then return 'not_unresolved' end
  t.state, t.open, t.seen = 'idle', 0, t.seen + 1
end

EFFECTS['recharge.resume'] = function(b, t)
  if t.state ~= 'suspended' and t.state ~= 'cooling' then return 'not_suspended' end
  resume(b, t)
  t.seen = t.seen + 1
end

-- Says what a lot holds some days before it expires, once for each of WARN; when
-- it is late, for the last of those that are past.
EFFECTS['lot.warn'] = function(b, t, c)
  local expires, said, days = b.holds(t, c.lot), 'w/' .. c.lot, tonumber(c.days)
  if expires and b.now < expires - days * DAY then return 'too_early' end
  b.drop(b.due, timer('warn', t, c.days .. ':' .. c.lot))
  if not expires then return 'no_lot' end
  if tonumber(b.recall(t, said) or math.huge) <= days then return 'already_said' end
  for _, d in ipairs(WARN) do
    if d < days and expires - d * DAY <= b.now then days = d end
  end
  b.remember(t, said, fmt(days))
  warn(b, t, c.lot, expires, days)
  if c.amount == '0' or b.now >= expires then return end
  b.emit(t, 'credit.expiring', ' amount=' .. c.amount .. ' expires_at=' .. fmt(expires) .. ' days=' .. fmt(days))
end

EFFECTS['lot.expire'] = function(b, t, c)
  local expires = b.holds(t, c.lot)
  if expires and b.now < expires then return 'too_early' end
  b.drop(b.due, timer('expire', t, c.lot))
  if not expires then return 'no_lot' end
  local of, at = string.match(c.lot, ':(%d+):(%d+)$')
  if tonumber(c.amount) > tonumber(of) then return 'more_than_the_lot' end
  t.lots[c.lot] = false
  t.forfeited, t.gone = t.forfeited + tonumber(c.amount), t.gone + tonumber(of)
  b.drop(t.keys.lots, c.lot)
  b.forget(t, 'w/' .. c.lot)
  if c.amount == '0' then return end
  ledger(b, t, 'expiry', c.amount, c.lot)
  b.emit(t, 'credit.expired', ' amount=' .. c.amount .. ' purchased_at=' .. at .. ' expires_at=' .. fmt(expires))
end
