-- What each command does to an account. An effect gets the batch b (see
-- apply_commands), the account t and the command c; it changes t, collects writes
-- with b.write and events with b.emit, and returns nil or why it refuses. Whether
-- it refuses depends on earlier commands alone, never on the balance (rule 6).

local SOFT_WAITS = { 3600000, 21600000 }         -- ms after the first and the second soft decline
local ANSWER_WAIT = 900000                       -- ms until a request without answer is unresolved
local LEDGER = 1000                              -- entries kept per account

local function timer(kind, t, key) return kind .. '/' .. t.id .. '/' .. key end

local function ledger(b, t, kind, amount, ref)
  b.write('LPUSH', t.keys.ledger, table.concat({ kind, amount, b.at, ref }, ' '))
  b.write('LTRIM', t.keys.ledger, 0, LEDGER - 1)
end

-- Adds a lot; it makes every wish made before stale.
local function credit(b, t, kind, amount, lot, expires, ref)
  t.funded = t.funded + tonumber(amount)
  t.seen = t.seen + 1
  local member = lot .. ':' .. amount .. ':' .. b.at
  t.lots[member] = true
  b.write('ZADD', t.keys.lots, expires, member)
  b.write('ZADD', b.due, fmt(tonumber(expires) + b.grace), timer('expire', t, member))
  ledger(b, t, kind, amount, ref)
end

-- Adds a lot that somebody has paid for: that ends a suspension.
local function fund(b, t, kind, amount, lot, expires, ref)
  credit(b, t, kind, amount, lot, expires, ref)
  if t.state == 'suspended' then t.state = 'idle' end
end

-- The name of the lot that the command makes.
local function named(b, letter) return letter .. string.sub(redis.sha1hex(b.id), 1, 12) end

-- What is remembered of recharge n: its state (open, declined, paid) and amount.
local function recharge(b, t, n)
  local r = b.recall(t, 'r/' .. n)
  if not r then return nil end
  local state, amount = string.match(r, '^(%a+) (%d+)$')
  return state, amount
end

local EFFECTS = {}

EFFECTS['account.put'] = function(b, t, c)
  if c.cur and t.cur ~= '' and c.cur ~= t.cur then return 'currency_is_fixed' end
  local auto, trigger, amount, pm = c.auto or t.auto, c.trigger or t.trigger, c.recharge or t.recharge, c.pm or t.pm
  if auto == '1' and (trigger == '' or amount == '' or pm == '') then return 'auto_recharge_incomplete' end
  if t.state == 'suspended' and (c.pm or c.auto) then t.state = 'idle' end
  t.auto, t.trigger, t.recharge, t.pm = auto, trigger, amount, pm
  if c.levels then t.levels = c.levels; t.low = math.min(t.low, #levels(t)) end
  t.cur, t.closed, t.seen = c.cur or t.cur, '0', t.seen + 1
end

EFFECTS['account.close'] = function(_, t) t.closed, t.seen = '1', t.seen + 1 end

EFFECTS['funds.top_up'] = function(b, t, c)
  if t.funded + tonumber(c.amount) > BOUND then return 'out_of_bounds' end
  local key = string.match(b.id, '^top%-up/(.+)$') or b.id   -- what the customer said
  fund(b, t, 'top_up', c.amount, named(b, 't'), b.expires, key)
  b.emit(t, 'funds.added', ' amount=' .. c.amount .. ' reference=' .. key)
end

-- Above zero it is a lot of its own: what was spent may have come from lots that
-- are gone. Below zero it is spent, like a call.
EFFECTS['funds.adjust'] = function(b, t, c)
  if c.currency ~= t.cur then return 'currency_mismatch' end
  local amount = tonumber(c.amount)
  if amount > 0 then
    if t.funded + amount > BOUND then return 'out_of_bounds' end
    credit(b, t, 'adjustment', c.amount, named(b, 'a'), b.expires, b.id)
    return
  end
  if t.adjusted - amount > MOST then return 'out_of_bounds' end
  t.spent, t.adjusted = t.spent - amount, t.adjusted - amount
  if t.spent > BOUND or balance(t) < -BOUND then b.beyond = t.id end
  ledger(b, t, 'adjustment', c.amount, b.id)
end

EFFECTS['recharge.request'] = function(b, t, c)
  if tonumber(c.n) ~= t.n + 1 then return 'not_next' end
  if not recharges(t) then return 'not_idle' end
  if tonumber(c.seen) ~= t.seen then return 'stale' end
  t.n, t.state, t.open = t.n + 1, 'pending', tonumber(c.amount)
  b.remember(t, 'r/' .. c.n, 'open ' .. c.amount)
  b.write('ZADD', b.due, fmt(tonumber(b.at) + ANSWER_WAIT), timer('unanswered', t, c.n))
  b.line(table.concat({ 'p', t.id, c.n, c.amount, t.cur, t.pm, b.offset, b.at }, ' '))
end

local function mismatch(b, t, c, why)
  b.emit(t, 'recharge.mismatched', ' n=' .. c.n .. ' reason=' .. why .. ' amount=' .. (c.amount or '0') .. ' paid_currency=' .. (c.currency or '-'))
end

local function succeeded(b, t, c, was, asked)
  if c.currency ~= t.cur then mismatch(b, t, c, 'currency'); return 'currency_mismatch' end
  if c.amount ~= asked then mismatch(b, t, c, 'amount') end    -- it may have been paid twice
  if was == 'paid' then return 'already_credited' end
  if t.funded + tonumber(c.amount) > BOUND then return 'out_of_bounds' end
  b.remember(t, 'r/' .. c.n, 'paid ' .. c.amount)
  fund(b, t, 'recharge', c.amount, 'r' .. c.n, b.expires, t.id .. '/' .. c.n)
  t.soft = 0
  if tonumber(c.n) == t.n then t.state, t.open = 'idle', 0 end
  b.write('ZREM', b.due, timer('unanswered', t, c.n), timer('retry', t, c.n))
  b.emit(t, 'recharge.succeeded', ' n=' .. c.n .. ' amount=' .. c.amount)
end

local function declined(b, t, c, was, asked)
  local waiting = t.state == 'pending' or t.state == 'unresolved'
  if tonumber(c.n) ~= t.n or was ~= 'open' or not waiting then return 'already_answered' end
  b.remember(t, 'r/' .. c.n, 'declined ' .. asked)
  b.write('ZREM', b.due, timer('unanswered', t, c.n))
  t.soft, t.open = t.soft + 1, 0
  local wait = c.class == 'soft' and SOFT_WAITS[t.soft]
  if wait then
    t.state = 'cooling'
    b.write('ZADD', b.due, fmt(tonumber(b.at) + wait), timer('retry', t, c.n))
  else
    t.state, t.soft = 'suspended', 0
  end
  b.emit(t, 'recharge.failed', ' n=' .. c.n .. ' code=' .. c.code .. ' class=' .. c.class .. ' next=' .. t.state)
end

EFFECTS['recharge.result'] = function(b, t, c)
  local was, asked = recharge(b, t, c.n)
  if not was then mismatch(b, t, c, 'no_request'); return 'no_request' end
  if c.status == 'succeeded' then return succeeded(b, t, c, was, asked) end
  return declined(b, t, c, was, asked)
end

EFFECTS['recharge.unanswered'] = function(b, t, c)
  b.write('ZREM', b.due, timer('unanswered', t, c.n))
  if tonumber(c.n) ~= t.n or t.state ~= 'pending' then return 'not_pending' end
  t.state = 'unresolved'
  b.emit(t, 'recharge.unresolved', ' n=' .. c.n)
end

EFFECTS['recharge.retry'] = function(b, t, c)
  b.write('ZREM', b.due, timer('retry', t, c.n))
  if tonumber(c.n) ~= t.n or t.state ~= 'cooling' then return 'not_cooling' end
  t.state = 'idle'
end

EFFECTS['recharge.abandon'] = function(_, t, c)
  if tonumber(c.n) ~= t.n or t.state ~= 'unresolved' then return 'not_unresolved' end
  t.state, t.open, t.seen = 'idle', 0, t.seen + 1
end

EFFECTS['recharge.resume'] = function(_, t)
  if t.state ~= 'suspended' and t.state ~= 'cooling' then return 'not_suspended' end
  t.state, t.soft, t.seen = 'idle', 0, t.seen + 1
end

EFFECTS['lot.expire'] = function(b, t, c)
  b.write('ZREM', b.due, timer('expire', t, c.lot))
  if not b.holds(t, c.lot) then return 'no_lot' end
  local of = tonumber(string.match(c.lot, ':(%d+):'))
  if tonumber(c.amount) > of then return 'more_than_the_lot' end
  t.lots[c.lot] = false
  t.forfeited, t.gone = t.forfeited + tonumber(c.amount), t.gone + of
  b.write('ZREM', t.keys.lots, c.lot)
  ledger(b, t, 'expiry', c.amount, c.lot)
  if c.amount ~= '0' then b.emit(t, 'credit.expired', ' amount=' .. c.amount) end
end
