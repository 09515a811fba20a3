-- What a RedisStore asks of its keys: one script, so that each call is one atomic step.
--
-- KEYS[1]  the name before all keys, with the one hash tag
-- ARGV     the operation, and what it takes
--
-- NAME:last               the newest attempt's number
-- NAME:order:ATTEMPT      hash: the attempt
-- NAME:current:SCOPE      hash: idempotency key -> the attempt that it names
-- NAME:keys:SCOPE         sorted by text: idempotency key, NUL, attempt
-- NAME:orders:SCOPE       sorted by number: attempts
-- NAME:open:SCOPE         sorted by number: those that a caller may still be owed
-- NAME:tasks:SCOPE        hash: task -> the newest attempt that has it
-- NAME:uploads:SCOPE      hash: address -> digest of what was uploaded there
-- NAME:owners             sorted by time: owner -> until when it counts as alive
-- NAME:ended              sorted by time: attempts that no later word changes
-- NAME:uploaded           sorted by time: scope, NUL, address
-- NAME:picture:DIGEST     the bytes of a picture
-- NAME:named              hash: digest of a picture -> how many attempts name it
-- NAME:again              written to by what is repeated, so that there is to wait for
-- NAME:taken:CALL         the attempt that a recovery took, for when it asks again

local name = KEYS[1]
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6

local function at(kind, of)
  return name .. ':' .. kind .. (of and ':' .. of or '')
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
  return string.find(words, ' ' .. word .. ' ', 1, true) ~= nil
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

local run = {}

-- lease, call, states that may be ordered anew, free states, digests of pictures, and
-- the fields of the order, names and values in turn
function run.begin(lease, call, anew, free, digests, ...)
  local fields, order = {...}, {}
  for index = 1, #fields, 2 do
    order[fields[index]] = fields[index + 1]
  end
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
  redis.call('HSET', at('order', attempt), 'state', 'intended', 'handed_over', '0',
    'intended_at', stamp(now), 'call', call, 'pictures', digests, unpack(fields))
  if replaces then
    redis.call('HSET', at('order', attempt), 'replaces', replaces)
  end
  keep_pictures(digests)
  redis.call('HSET', at('current', scope), key, attempt)
  redis.call('ZADD', at('keys', scope), 0, key .. '\0' .. attempt)
  redis.call('ZADD', at('orders', scope), attempt, attempt)
  redis.call('ZADD', at('open', scope), attempt, attempt)
  return {1, {attempt, stamp(now)}}
end

function run.accepted(attempt, before, task)
  local state = get(attempt, 'state')
  if state and is_in(state, before) then
    redis.call('HSET', at('order', attempt), 'state', 'accepted', 'task_id', task)
    give_task(attempt, get(attempt, 'scope'), task)
  end
end

function run.ended(attempt, before, final, free, digests, state, ...)
  local was = get(attempt, 'state')
  if not was or not is_in(was, before) then
    return
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
    redis.call('ZREM', at('open', scope), attempt)
    local replaced = get(attempt, 'replaces')
    local current = redis.call('HGET', at('current', scope), key)
    if replaced and current == attempt and get(replaced, 'state') then
      redis.call('HSET', at('current', scope), key, replaced)
    end
  end
end

-- A claim that nobody has the answer to is refused: it was never sent.
function run.take_back(scope, key, call, before, final, free)
  local attempt = redis.call('HGET', at('current', scope), key)
  if attempt and get(attempt, 'call') == call then
    run.ended(attempt, before, final, free, '', 'refused', 'error', 'it was not sent')
  end
end

function run.handed_over(...)
  for _, attempt in ipairs({...}) do
    local scope = get(attempt, 'scope')
    if scope then
      redis.call('HSET', at('order', attempt), 'handed_over', '1')
      redis.call('ZREM', at('open', scope), attempt)
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

function run.forget(scope, key)
  return redis.call('HDEL', at('current', scope), key)
end

function run.renew(owner, lease)
  renew(owner, lease)
end

function run.release(owner)
  redis.call('ZREM', at('owners'), owner)
end

function run.recover(scope, owner, lease, call, after)
  renew(owner, lease)
  local taken = redis.call('GET', at('taken', call))
  if taken then
    return read(taken)
  end
  for _, attempt in ipairs(redis.call('ZRANGE', at('open', scope), '(' .. after, '+inf', 'BYSCORE')) do
    if not is_alive(get(attempt, 'owner') or '') then
      redis.call('HSET', at('order', attempt), 'owner', owner)
      if get(attempt, 'state') == 'intended' then
        redis.call('HSET', at('order', attempt), 'state', 'unknown')
      end
      redis.call('SET', at('taken', call), attempt, 'EX', 600)
      return read(attempt)
    end
  end
  return false
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
  redis.call('ZREM', at('open', scope), attempt)
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

return run[ARGV[1]](unpack(ARGV, 2))
