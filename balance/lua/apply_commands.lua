-- Applies a batch of commands to the accounts of one shard.
-- KEYS: marks, outbox, due, index, then per account: account, lots, ledger, commands
-- ARGV: source, expected mark (prefix), next offset, last record, clock (us), trims, parked lines, expiry grace (ms),
--       number of accounts, their ids, number of commands,
--       per command: offset, append (ms), id, digest, account number, count of words, words
-- Returns: {'OK', entry} | {'REFUSED', mark} | {'BOUNDS', account}
local marks, outbox = KEYS[1], KEYS[2]
local got = redis.call('HMGET', marks, ARGV[1], 'stamp')
local mark = got[1] or NEW
if string.sub(mark, 1, #ARGV[2]) ~= ARGV[2] then return { 'REFUSED', mark } end
local out = { stamp = math.max(tonumber(got[2] or '0') + 1, tonumber(ARGV[5])) }
if ARGV[7] ~= '' then out[1] = ARGV[7] end

local accounts, writes = {}, {}
local arg = 10
for i = 1, tonumber(ARGV[9]) do
  local k = 4 * i + 1
  local key, id = KEYS[k], ARGV[arg]
  accounts[i] = { id = id, key = key, memory = {}, t = load(id, redis.call('HMGET', key, unpack(FIELDS))),
    keys = { account = key, lots = KEYS[k + 1], ledger = KEYS[k + 2], commands = KEYS[k + 3] } }
  arg = arg + 1
end

local b = { due = KEYS[3], grace = tonumber(ARGV[8]) }
function b.write(...) writes[#writes + 1] = { ... } end
-- Members of sorted sets, as they are after the batch: what is taken out goes last.
-- While a slot of a cluster moves, a key that a script has emptied is not here any
-- more, and to add to it fails after other writes are done.
local sets, members = {}, {}
local function member(key, m, score)
  local k = key .. '\n' .. m
  if not sets[k] then
    sets[k] = { key, m }
    members[#members + 1] = sets[k]
  end
  sets[k][3] = score
end
function b.put(key, score, m) member(key, m, score) end
function b.drop(key, ...) for _, m in ipairs({ ... }) do member(key, m, false) end end
function b.line(text) out[#out + 1] = text end
function b.emit(t, kind, more) emit(out, t, kind, b.offset, b.at, more) end
function b.recall(t, field)
  if t.memory[field] == nil then t.memory[field] = redis.call('HGET', t.keys.commands, field) end
  return t.memory[field]
end
function b.remember(t, field, value)
  t.memory[field] = value
  b.write('HSET', t.keys.commands, field, value)
end
function b.forget(t, field)
  t.memory[field] = false
  b.write('HDEL', t.keys.commands, field)
end
function b.holds(t, lot)                         -- when it expires (ms), or false
  if t.lots[lot] == nil then t.lots[lot] = tonumber(redis.call('ZSCORE', t.keys.lots, lot) or nil) or false end
  return t.lots[lot]
end

-- An account begins with the first settings that are accepted. Of those that are
-- refused before, it is remembered that they were, and nothing else is kept.
local function apply(a, c)
  local t = a.t
  if not t then
    if c.type ~= 'account.put' or not c.cur then return end
    t = load(a.id, { '0', '0', '0', fmt(NEVER), '', b.at })
  end
  t.keys, t.memory, t.lots = a.keys, a.memory, t.lots or {}
  if b.id ~= '' and b.recall(t, 'c/' .. b.id) then return end   -- applied before: nothing, whatever it says now
  local refused = EFFECTS[c.type](b, t, c)
  if b.id ~= '' then b.remember(t, 'c/' .. b.id, b.digest .. ' ' .. (refused or 'ok')) end
  if not a.t then
    if refused then return end
    t.new, a.t = true, t
    b.put(KEYS[4], 0, a.id)
  end
  look(out, t, b.offset, b.at)
end

local n = tonumber(ARGV[arg])
arg = arg + 1
for _ = 1, n do
  b.offset, b.at, b.id, b.digest = ARGV[arg], ARGV[arg + 1], ARGV[arg + 2], ARGV[arg + 3]
  b.now = tonumber(b.at)
  local a, words, c = accounts[tonumber(ARGV[arg + 4])], tonumber(ARGV[arg + 5]), {}
  for w = arg + 6, arg + 5 + words, 2 do c[ARGV[w]] = ARGV[w + 1] end
  arg = arg + 6 + words
  apply(a, c)
end

if b.beyond then return { 'BOUNDS', b.beyond } end
for _, a in ipairs(accounts) do
  if a.t then
    settle(out, a.t)
    local set = changes(a.t)
    if a.t.new then
      -- the fields of the hot path first: a small hash is read from its beginning
      redis.call('HSET', a.key, 'spent', '0', 'funded', '0', 'forfeited', '0', 'trip', fmt(a.t.trip), 'cur', a.t.cur, 'at', fmt(a.t.at))
    end
    if #set > 0 then redis.call('HSET', a.key, unpack(set)) end
  end
end
for _, w in ipairs(writes) do redis.call(unpack(w)) end
for _, m in ipairs(members) do
  if m[3] then redis.call('ZADD', m[1], m[3], m[2]) end
end
for _, m in ipairs(members) do
  if not m[3] then redis.call('ZREM', m[1], m[2]) end
end
return finish(out, marks, outbox, ARGV[1], mark, string.match(mark, '^%d+'), ARGV[3], ARGV[4], ARGV[6])
