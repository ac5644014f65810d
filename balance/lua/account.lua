-- Shared by apply_cdrs and apply_commands: an account in memory, what it crosses,
-- what it wishes. Nothing here writes: changes leave through save().
-- Numbers are doubles, exact below 2^53; they leave as text made by fmt() alone.

local NEW = '0 - -1 - 0'           -- the mark of a source never applied (mark.go)
local BOUND = 9000000000000000     -- every total stays within +-BOUND micros
local MOST = 1000000000000000      -- that one purchase adds (MaxPurchase), and that adjustments may take in all
local NEVER = -9100000000000000    -- a trip that no balance reaches

local function fmt(x)
  if x == 0 then return '0' end    -- never "-0"
  return string.format('%.0f', x)
end

local FIELDS = { 'spent', 'funded', 'forfeited', 'trip', 'cur', 'at', 'seq', 'low', 'neg', 'levels', 'auto', 'trigger',
  'recharge', 'n', 'state', 'seen', 'closed', 'overdraft' }
local TEXT = { cur = '', levels = '', low = '', state = 'idle', auto = '0', closed = '0', trigger = '', recharge = '', overdraft = '' }

-- The account behind an HMGET of FIELDS; nil when it does not exist.
local function load(id, h)
  if not h[6] then return nil end
  local t = { id = id, was = {} }
  for i, f in ipairs(FIELDS) do
    t.was[f] = h[i]
    if TEXT[f] then t[f] = h[i] or TEXT[f] else t[f] = tonumber(h[i] or '0') end
  end
  return t
end

-- The fields of t that changed, as name, value, ... for HSET.
local function changes(t)
  local out = {}
  for _, f in ipairs(FIELDS) do
    local v = t[f]
    if type(v) == 'number' then v = fmt(v) end
    if v ~= (t.was[f] or TEXT[f] or '0') then out[#out + 1] = f; out[#out + 1] = v end
  end
  return out
end

local function balance(t) return t.funded - t.spent - t.forfeited end

local function levels(t)
  if not t.list or t.listed ~= t.levels then
    t.list, t.listed = {}, t.levels
    for l in string.gmatch(t.levels, '[^,]+') do t.list[#t.list + 1] = tonumber(l) end
  end
  return t.list
end

local function recharges(t) return t.auto == '1' and t.closed == '0' and t.state == 'idle' end

-- The highest balance at which a debit makes anything happen next.
local function trip(t)
  local x = NEVER
  if t.neg == 0 then x = -1 end
  for _, l in ipairs(levels(t)) do
    if t.low == '' or l < tonumber(t.low) then x = math.max(x, l); break end
  end
  if recharges(t) and tonumber(t.trigger) > x then x = tonumber(t.trigger) end
  return x
end

-- One event line. Sequences of an account rise, and are no lower than the stamp
-- of their entry, so that they rise over a failover too (design rule 9).
local function emit(out, t, kind, offset, at, more)
  t.seq = math.max(t.seq + 1, out.stamp)
  out[#out + 1] = table.concat({ 'e', t.id, kind, fmt(t.seq), fmt(balance(t)), t.cur, offset, at }, ' ') .. (more or '')
end

-- The balance above which a level is armed again.
local function above(level) return level + math.max(1, math.floor(level / 10)) end

-- What the balance of t has crossed since the last look, record by record. t.low
-- is the most severe level that was told of and is not recovered from.
local function look(out, t, offset, at)
  local bal, told, reached, left = balance(t), tonumber(t.low), nil, nil
  for _, l in ipairs(levels(t)) do               -- highest first: the last one that fits is the most severe
    if bal <= l then reached = l end
    if told and l > told and bal <= above(l) then left = l end
  end
  if reached and (not told or reached < told) then
    t.low = fmt(reached)
    emit(out, t, 'balance.low', offset, at, ' threshold=' .. t.low)
  elseif told and bal > above(told) then
    emit(out, t, 'balance.recovered', offset, at, ' threshold=' .. t.low)
    t.low = left and fmt(left) or ''
  end
  local neg = bal < 0 and 1 or 0
  if neg ~= t.neg then
    t.neg = neg
    local limit = t.overdraft ~= '' and ' overdraft_limit=' .. t.overdraft or ''
    emit(out, t, neg == 1 and 'balance.depleted' or 'balance.restored', offset, at, limit)
  end
  if recharges(t) and bal <= tonumber(t.trigger) then
    -- one request closes a gap larger than one amount
    local one = tonumber(t.recharge)
    local k = math.min(math.floor((tonumber(t.trigger) - bal) / one) + 1, math.floor(MOST / one))
    t.wish = table.concat({ 'w', t.id, fmt(t.n + 1), fmt(k * one), t.cur, fmt(t.seen) }, ' ')
  end
end

-- The wish of t, if it is still one, and its new trip.
local function settle(out, t)
  if t.wish and recharges(t) and balance(t) <= tonumber(t.trigger) then out[#out + 1] = t.wish end
  t.wish = nil
  t.trip = trip(t)
end

-- Appends the entry, moves the mark, trims what is published; the last writes of
-- an apply call. trims: names of entries, oldest first. In this order: while a slot
-- of a cluster moves, a list that was trimmed to nothing is a key that is not here,
-- and appending to it fails after the debits were written.
local function finish(out, marks, outbox, source, mark, first, next, last, trims)
  local text = first .. ' ' .. next .. ' ' .. fmt(out.stamp) .. '\n'
  if #out > 0 then text = text .. table.concat(out, '\n') .. '\n' end
  local name = redis.sha1hex(string.match(mark, '^%d+ (%S+)') .. text)
  redis.call('RPUSH', outbox, name .. '\n' .. text)
  redis.call('HSET', marks, source, next .. ' ' .. name .. ' ' .. last, 'stamp', fmt(out.stamp))
  trim(outbox, trims)
  return { 'OK', name .. '\n' .. text }
end
