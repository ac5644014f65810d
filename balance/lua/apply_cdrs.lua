-- Takes the charges of a batch of CDRs from the accounts of one shard.
-- KEYS: marks, outbox, a set of seen digests per slice, a hash per account
-- ARGV: source, expected mark (prefix), next offset, last record, clock (us), commands source, commands end,
--       slack (ms), trims, lines of records parked or skipped, packed records (offset, charge, append: doubles; digest
--       number: uint16), number of slices, of accounts, of records without account,
--       per slice: count, digests; per account: id, count, sum, currency, first append, last append, walk
--       (1: its records must be looked at one by one)
-- Records are numbered: those without account first (free whatever the account), then account by account.
-- Returns: {'OK', entry} | {'REFUSED', mark} | {'BEHIND', mark of commands} | {'UNKNOWN', until (ms)} | {'BOUNDS', account}
local marks, outbox = KEYS[1], KEYS[2]
local got = redis.call('HMGET', marks, ARGV[1], ARGV[6], 'stamp')
local mark = got[1] or NEW
if string.sub(mark, 1, #ARGV[2]) ~= ARGV[2] then return { 'REFUSED', mark } end
local commands_next, commands_at = string.match(got[2] or NEW, '^(%d+) %S+ %S+ %S+ (-?%d+)$')
if tonumber(commands_next) < tonumber(ARGV[7]) then return { 'BEHIND', got[2] or NEW } end
local slack, packed = tonumber(ARGV[8]), ARGV[11]
local ns, na, loose = tonumber(ARGV[12]), tonumber(ARGV[13]), tonumber(ARGV[14])
local out = { stamp = math.max(tonumber(got[3] or '0') + 1, tonumber(ARGV[5])) }
if ARGV[10] ~= '' then out[1] = ARGV[10] end

-- Ids that the switch has sent before (rule 8).
local arg, digests, repeats, slices = 15, 0, nil, {}
for s = 1, ns do
  local n, first = tonumber(ARGV[arg]), arg + 1
  local known = redis.call('SMISMEMBER', KEYS[2 + s], unpack(ARGV, first, first + n - 1))
  for i = 1, n do
    if known[i] == 1 then repeats = repeats or {}; repeats[digests + i] = true end
  end
  slices[s] = { first, n, digests }
  digests, arg = digests + n, first + n
end

local function record(i) return struct.unpack('<dddH', packed, (i - 1) * 26 + 1) end
local skip                                       -- digests that are not claimed: of parked records
local claimed = {}                               -- digests that a record looked at one by one has claimed

-- The outcome of record i if it is accepted, claiming its digest.
local function repeated(i, offset, digest)
  if digest == 0 then return false end
  if claimed[digest] or repeats and repeats[digest] then
    out[#out + 1] = 'o ' .. fmt(offset) .. ' duplicate'
    return true
  end
  claimed[digest] = true
  return false
end

local function park(offset, digest, reason)
  out[#out + 1] = 'o ' .. fmt(offset) .. ' parked ' .. reason
  if digest ~= 0 then skip = skip or {}; skip[digest] = true end
end

-- All records of an account that does not exist, in one line, as there may be many;
-- with the time that commands were applied to without making it.
local function park_all(id, from, n)
  out[#out + 1] = 'u ' .. id .. ' ' .. commands_at
  skip = skip or {}
  for i = from + 1, from + n do skip[struct.unpack('<H', packed, (i - 1) * 26 + 25)] = true end
end

for i = 1, loose do
  local offset, _, _, digest = record(i)
  repeated(i, offset, digest)
end

-- Look at every account before the first write.
local writes, late, groups, at = {}, -1, {}, loose
for g = 1, na do
  local a = arg + (g - 1) * 7
  local n = tonumber(ARGV[a + 1])
  local h = redis.call('HMGET', KEYS[2 + ns + g], 'spent', 'funded', 'forfeited', 'trip', 'cur', 'at')
  if not h[6] then late = math.max(late, tonumber(ARGV[a + 5])) end
  groups[g] = { a, at, n, h }
  at = at + n
end
-- Known means: the first settings that were accepted were appended no later than the CDR (rule 7).
if late >= 0 and tonumber(commands_at) <= late + slack then return { 'UNKNOWN', fmt(late + slack) } end

local function walk(key, id, from, n, cur)
  local t = load(id, redis.call('HMGET', key, unpack(FIELDS)))
  for i = from + 1, from + n do
    local offset, charge, append, digest = record(i)
    if t.at > append + slack then park(offset, digest, 'unknown_account')
    elseif charge > 0 and cur ~= t.cur then park(offset, digest, 'currency_mismatch')
    elseif not repeated(i, offset, digest) and charge > 0 then
      t.spent = t.spent + charge
      look(out, t, fmt(offset), fmt(append))
    end
  end
  settle(out, t)
  local set = changes(t)
  if #set > 0 then writes[#writes + 1] = { 'HSET', key, unpack(set) } end
  return t.spent <= BOUND and balance(t) >= -BOUND
end

for g = 1, na do
  local a, from, n, h = unpack(groups[g])
  local key, sum, cur = KEYS[2 + ns + g], ARGV[a + 2], ARGV[a + 3]
  local known = h[6]
  local slow = known and (ARGV[a + 6] == '1' or tonumber(h[6]) > tonumber(ARGV[a + 4]) + slack or (sum ~= '0' and cur ~= h[5]))
  if known and not slow and repeats then
    for i = from + 1, from + n do
      local _, _, _, digest = record(i)
      if repeats[digest] then slow = true end
    end
  end
  if not known then
    park_all(ARGV[a], from, n)
  elseif not slow then
    local spent = tonumber(h[1]) + tonumber(sum)
    local left = tonumber(h[2]) - spent - tonumber(h[3])
    if spent > BOUND or left < -BOUND then return { 'BOUNDS', ARGV[a] } end
    if left <= tonumber(h[4]) then slow = true
    elseif sum ~= '0' then writes[#writes + 1] = { 'HINCRBY', key, 'spent', sum } end
  end
  if slow and not walk(key, ARGV[a], from, n, cur) then return { 'BOUNDS', ARGV[a] } end
end

-- From here on nothing is checked, only written.
for _, w in ipairs(writes) do redis.call(unpack(w)) end
for s = 1, ns do
  local first, n, before = unpack(slices[s])
  local claim = {}
  if skip then
    for i = 1, n do
      if claimed[before + i] or not skip[before + i] then claim[#claim + 1] = ARGV[first + i - 1] end
    end
    if #claim > 0 then redis.call('SADD', KEYS[2 + s], unpack(claim)) end
  else
    redis.call('SADD', KEYS[2 + s], unpack(ARGV, first, first + n - 1))
  end
end
return finish(out, marks, outbox, ARGV[1], mark, string.match(mark, '^%d+'), ARGV[3], ARGV[4], ARGV[9])
