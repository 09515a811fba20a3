-- What a RedisStore asks of its keys: one script, so that each call is one atomic step.
--
-- KEYS[1]  the name before all keys, with the one hash tag
-- ARGV     who calls, for which time it tries, the operation, and what that takes
--
-- Rules:
-- 1. A call may be made again: it finds out what it did before. One that another try of
--    its caller has overtaken does nothing; it may have been on its way for minutes.
-- 2. What is said of an attempt is said of the one that its *call* began: a server that
--    forgot some may give a number twice.
-- 3. Recovering costs what there is to recover: it looks at nothing that the living have.
--
-- NAME:last               the newest attempt's number
-- NAME:order:ATTEMPT      hash: the attempt
-- NAME:current:SCOPE      hash: idempotency key -> the attempt that it names
-- NAME:keys:SCOPE         sorted by text: idempotency key, NUL, attempt
-- NAME:orders:SCOPE       sorted by number: attempts
-- NAME:held:OWNER:SCOPE   sorted by number: those of an owner that a caller may be owed
-- NAME:holders:SCOPE      owners who have some
-- NAME:left:SCOPE         sorted by number: those whose owners were found gone
-- NAME:tasks:SCOPE        hash: task -> the newest attempt that has it
-- NAME:uploads:SCOPE      hash: address -> digest of what was uploaded there
-- NAME:owners             sorted by time: owner -> until when it counts as alive
-- NAME:ended              sorted by time: attempts that no later word changes
-- NAME:uploaded           sorted by time: scope, NUL, address
-- NAME:picture:DIGEST     the bytes of a picture
-- NAME:named              hash: digest of a picture -> how many attempts name it
-- NAME:again              written to by what is repeated, so that there is to wait for
-- NAME:done:CALL          what a recovery took, or a forgetting did, for when it is asked again
-- NAME:try:CALLER         the newest try of a caller who was cut off

local name = KEYS[1]
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6

local function at(kind, of)
  return name .. ':' .. kind .. (of and ':' .. of or '')
end

local caller, try = ARGV[1], tonumber(ARGV[2])
local newest = tonumber(redis.call('GET', at('try', caller)) or '0')
if try < newest then
  return redis.error_reply('ERR this call was overtaken by its repetition')
elseif try > newest then
  redis.pcall('SET', at('try', caller), try, 'EX', 86400) -- not where all is full
end

local function stamp(seconds)
  return string.format('%.6f', seconds)
end

local function is_alive(owner)
  local till = redis.call('ZSCORE', at('owners'), owner)
  return till and tonumber(till) > now
end

local function renew(owner, lease)
  redis.call('ZADD', at('owners'), stamp(now + tonumber(lease)), owner)
  redis.call('ZREMRANGEBYSCORE', at('owners'), '-inf', stamp(now - 86400))
end

local function get(attempt, field)
  return redis.call('HGET', at('order', attempt), field)
end

local function read(attempt)
  local found = redis.call('HGETALL', at('order', attempt))
  if #found == 0 then
    return false
  end
  local values = {}
  for index = 1, #found, 2 do
    values[found[index]] = found[index + 1]
  end
  for field, value in pairs({
    attempt = attempt,
    owned = is_alive(values.owner or '') and '1' or '0',
    age_s = stamp(now - (tonumber(values.intended_at) or now)),
  }) do
    found[#found + 1] = field
    found[#found + 1] = value
  end
  return found
end

local function is_in(word, words)
  return word and string.find(words, ' ' .. word .. ' ', 1, true) ~= nil
end

local function keep_pictures(digests)
  for digest in string.gmatch(digests, '%x+') do
    redis.call('HINCRBY', at('named'), digest, 1)
    redis.call('PERSIST', at('picture', digest))
  end
end

local function drop_pictures(digests)
  for digest in string.gmatch(digests, '%x+') do
    if redis.call('HINCRBY', at('named'), digest, -1) <= 0 then
      redis.call('HDEL', at('named'), digest)
      redis.call('DEL', at('picture', digest))
    end
  end
end

local function give_task(attempt, scope, task)
  local before = redis.call('HGET', at('tasks', scope), task)
  if not before or tonumber(before) < tonumber(attempt) then
    redis.call('HSET', at('tasks', scope), task, attempt)
  end
end

local function hold(attempt, scope, owner)
  redis.call('ZADD', at('held', owner .. ':' .. scope), attempt, attempt)
  redis.call('SADD', at('holders', scope), owner)
end

local function let_go(attempt, scope)
  if redis.call('ZREM', at('left', scope), attempt) == 0 then
    local owner = get(attempt, 'owner') or ''
    local held = at('held', owner .. ':' .. scope)
    redis.call('ZREM', held, attempt)
    if redis.call('EXISTS', held) == 0 then
      redis.call('SREM', at('holders', scope), owner)
    end
  end
end

local function named(...)
  local fields, order = {...}, {}
  for index = 1, #fields, 2 do
    order[fields[index]] = fields[index + 1]
  end
  return order
end

local function write_down(attempt, intended_at, call, digests, replaces, ...)
  local order = named(...)
  redis.call('HSET', at('order', attempt), 'state', 'intended', 'handed_over', '0',
    'intended_at', intended_at, 'call', call, 'pictures', digests, ...)
  if replaces then
    redis.call('HSET', at('order', attempt), 'replaces', replaces)
  end
  keep_pictures(digests)
  redis.call('ZADD', at('keys', order.scope), 0, order.idempotency_key .. '\0' .. attempt)
  redis.call('ZADD', at('orders', order.scope), attempt, attempt)
  hold(attempt, order.scope, order.owner)
end

local function is_of(attempt, call)
  local its = get(attempt, 'call')
  return its and (call == '' or its == call)
end

local run = {}

-- lease, call, states that may be ordered anew, free states, digests of pictures, and
-- the fields of the order, names and values in turn
function run.begin(lease, call, anew, free, digests, ...)
  local order = named(...)
  local scope, key = order.scope, order.idempotency_key
  renew(order.owner, lease)
  local before = redis.call('HGET', at('current', scope), key)
  local replaces = false
  if before then
    if get(before, 'call') == call then -- the answer was lost on its way
      return {1, {before, get(before, 'intended_at')}}
    end
    local state = get(before, 'state')
    if state then
      local under_way = state == 'intended' and is_alive(get(before, 'owner') or '')
      if under_way or not is_in(state, anew) then
        return {0, read(before)}
      end
      replaces = not is_in(state, free) and before
    end
  end
  -- By the clock: should a failover lose some, no newer one has a number of theirs, and
  -- what their sessions still say of them is said of nobody.
  local last = tonumber(redis.call('GET', at('last')) or '0')
  local clock = tonumber(time[1]) * 1e6 + tonumber(time[2])
  local attempt = string.format('%.0f', math.max(last + 1, clock))
  redis.call('SET', at('last'), attempt)
  write_down(attempt, stamp(now), call, digests, replaces, ...)
  redis.call('HSET', at('current', scope), key, attempt)
  return {1, {attempt, stamp(now)}}
end

-- An attempt that was forgotten, as its session still has it. Its key names it again,
-- unless it was ordered anew meanwhile; and then once that one is refused.
function run.restore(attempt, intended_at, lease, call, free, digests, ...)
  if get(attempt, 'state') then
    return
  end
  local order = named(...)
  local scope, key = order.scope, order.idempotency_key
  renew(order.owner, lease)
  local current = redis.call('HGET', at('current', scope), key)
  local state = current and get(current, 'state')
  local is_free = not state or is_in(state, free)
  local names = is_free or tonumber(current) < tonumber(attempt)
  write_down(attempt, intended_at, call, digests, names and not is_free and current, ...)
  if names then
    redis.call('HSET', at('current', scope), key, attempt)
  else
    redis.call('HSETNX', at('order', current), 'replaces', attempt)
  end
  local last = tonumber(redis.call('GET', at('last')) or '0')
  if last < tonumber(attempt) then
    redis.call('SET', at('last'), attempt)
  end
end

-- The words about an attempt answer whether it is there.
function run.accepted(attempt, call, before, task)
  if not is_of(attempt, call) then
    return 0
  end
  if is_in(get(attempt, 'state'), before) then
    redis.call('HSET', at('order', attempt), 'state', 'accepted', 'task_id', task)
    give_task(attempt, get(attempt, 'scope'), task)
  end
  return 1
end

function run.ended(attempt, call, before, final, free, digests, state, ...)
  if not is_of(attempt, call) then
    return 0
  end
  if not is_in(get(attempt, 'state'), before) then
    return 1
  end
  local scope, key = get(attempt, 'scope'), get(attempt, 'idempotency_key')
  redis.call('HSET', at('order', attempt), 'state', state, 'ended_at', stamp(now), ...)
  local task = get(attempt, 'task_id')
  if task then
    give_task(attempt, scope, task)
  end
  keep_pictures(digests)
  local pictures = get(attempt, 'pictures') or ''
  redis.call('HSET', at('order', attempt), 'pictures', pictures .. ' ' .. digests)
  if is_in(state, final) then
    redis.call('ZADD', at('ended'), stamp(now), attempt)
  end
  if is_in(state, free) then
    let_go(attempt, scope)
    local replaced = get(attempt, 'replaces')
    local current = redis.call('HGET', at('current', scope), key)
    if replaced and current == attempt and get(replaced, 'state') then
      redis.call('HSET', at('current', scope), key, replaced)
    end
  end
  return 1
end

-- A claim that nobody has the answer to is refused: it was never sent.
function run.take_back(scope, key, call, before, final, free)
  local attempt = redis.call('HGET', at('current', scope), key)
  if attempt and get(attempt, 'call') == call then
    run.ended(attempt, call, before, final, free, '', 'refused', 'error', 'it was not sent')
  end
end

function run.handed_over(...)
  for _, attempt in ipairs({...}) do
    local scope = get(attempt, 'scope')
    if scope then
      redis.call('HSET', at('order', attempt), 'handed_over', '1')
      let_go(attempt, scope)
    end
  end
end

function run.saved(attempt, files)
  if get(attempt, 'scope') then
    redis.call('HSET', at('order', attempt), 'files', files)
  end
end

function run.uploaded(scope, address, digest)
  redis.call('HSET', at('uploads', scope), address, digest)
  redis.call('ZADD', at('uploaded'), stamp(now), scope .. '\0' .. address)
end

function run.find(scope, key)
  local attempt = redis.call('HGET', at('current', scope), key)
  return attempt and read(attempt)
end

function run.find_task(scope, task)
  local attempt = redis.call('HGET', at('tasks', scope), task)
  return attempt and read(attempt)
end

function run.forget(scope, key, call)
  local gone = redis.call('GET', at('done', call))
  if not gone then
    gone = redis.call('HDEL', at('current', scope), key)
    redis.call('SET', at('done', call), gone, 'EX', 600)
  end
  return tonumber(gone)
end

function run.renew(owner, lease)
  renew(owner, lease)
end

function run.release(owner)
  redis.call('ZREM', at('owners'), owner)
end

-- What the dead hold is put where it is taken from, each once: up to *count* of each.
local function collect(scope, count)
  for _, owner in ipairs(redis.call('SMEMBERS', at('holders', scope))) do
    if not is_alive(owner) then
      local held = at('held', owner .. ':' .. scope)
      local found = redis.call('ZRANGE', held, 0, count - 1)
      for _, attempt in ipairs(found) do
        redis.call('ZADD', at('left', scope), attempt, attempt)
      end
      redis.call('ZREMRANGEBYRANK', held, 0, count - 1)
      if #found < count then
        redis.call('SREM', at('holders', scope), owner)
      end
    end
  end
end

function run.recover(scope, owner, lease, call, count)
  renew(owner, lease)
  local done = redis.call('GET', at('done', call))
  -- Unless it was dealt with meanwhile, or we were silent for so long that it is another's.
  if done and get(done, 'owner') == owner and get(done, 'handed_over') ~= '1' then
    return read(done)
  end
  collect(scope, tonumber(count))
  while true do
    local attempt = redis.call('ZPOPMIN', at('left', scope))[1]
    if not attempt then
      return false
    end
    local before = get(attempt, 'owner')
    if before and is_alive(before) then -- it was silent for a while
      hold(attempt, scope, before)
    elseif before then
      hold(attempt, scope, owner)
      redis.call('HSET', at('order', attempt), 'owner', owner)
      if get(attempt, 'state') == 'intended' then
        redis.call('HSET', at('order', attempt), 'state', 'unknown')
      end
      redis.call('SET', at('done', call), attempt, 'EX', 600)
      return read(attempt)
    end
  end
end

-- Up to *count* attempts below *before*, newest first.
function run.page(scope, before, count)
  local found = {}
  for _, attempt in ipairs(redis.call('ZRANGE', at('orders', scope), '(' .. before, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, count)) do
    found[#found + 1] = read(attempt)
  end
  return found
end

-- State, price and cost of up to *count* attempts whose keys begin with *prefix*, and
-- behind which text to go on.
function run.money(scope, prefix, after, count)
  local found = redis.call('ZRANGE', at('keys', scope), after, '[' .. prefix .. '\255', 'BYLEX', 'LIMIT', 0, count)
  local rows = {}
  for _, member in ipairs(found) do
    local attempt = string.match(member, '%z(%d+)$')
    rows[#rows + 1] = redis.call('HMGET', at('order', attempt), 'state', 'price', 'cost')
  end
  return {rows, #found > 0 and '(' .. found[#found] or ''}
end

local function delete(attempt)
  local scope, key = get(attempt, 'scope'), get(attempt, 'idempotency_key')
  local task = get(attempt, 'task_id')
  if redis.call('HGET', at('current', scope), key) == attempt then
    redis.call('HDEL', at('current', scope), key)
  end
  if task and redis.call('HGET', at('tasks', scope), task) == attempt then
    redis.call('HDEL', at('tasks', scope), task)
  end
  local pictures = get(attempt, 'pictures') or ''
  redis.call('ZREM', at('keys', scope), key .. '\0' .. attempt)
  redis.call('ZREM', at('orders', scope), attempt)
  let_go(attempt, scope)
  redis.call('DEL', at('order', attempt))
  drop_pictures(pictures) -- last: a server that is full lets a script write after that
end

-- Up to *count* attempts that ended longer than *seconds* ago are deleted.
function run.prune(seconds, hosted, count)
  local until_ = stamp(now - tonumber(seconds))
  local old = redis.call('ZRANGE', at('ended'), '-inf', '(' .. until_, 'BYSCORE', 'LIMIT', 0, count)
  for _, attempt in ipairs(old) do
    delete(attempt)
    redis.call('ZREM', at('ended'), attempt)
  end
  until_ = stamp(now - tonumber(hosted))
  local addresses = redis.call('ZRANGE', at('uploaded'), '-inf', '(' .. until_, 'BYSCORE', 'LIMIT', 0, count)
  for _, member in ipairs(addresses) do
    local scope, address = string.match(member, '^(.-)%z(.*)$')
    redis.call('HDEL', at('uploads', scope), address)
    redis.call('ZREM', at('uploaded'), member)
  end
  return {#old, #addresses}
end

return run[ARGV[3]](unpack(ARGV, 4))
