-- One step of one worker: it says what it has and wants, and is told what it gets.
--
-- Rules:
-- 1. What a worker has is said in full each time, never as a difference. So a call may be
--    made again, permits of an answer that was lost are nobody's, and a server that lost
--    its memory has it back once all have called.
-- 2. What became of orders counts once: such news have a number.
-- 3. Workers that wait take turns, one order each; within a worker orders go as they
--    came. So nobody starves, however many orders wait elsewhere. A worker that does not
--    come when it is due loses its turn.
-- 4. A worker that was not heard of for its lease is gone, with all it had.
--
-- pace.lua stands before this, and constants before that.

local key, me = KEYS[1], ARGV[1]
local call, seen, batch = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local held, wants = tonumber(ARGV[5]), tonumber(ARGV[6])
local pending, interval_min = tonumber(ARGV[7]), tonumber(ARGV[8])
local lease, news, channel = tonumber(ARGV[9]), cjson.decode(ARGV[10]), ARGV[11]

local stored = redis.call('GET', key)
local state = stored and cmsgpack.unpack(stored)
  or {pace = new_pace(), workers = {}, turns = 0, now = 0, shift = 0}
local pace, workers = state.pace, state.workers

-- A clock that was set back, or that of a replica which took over, would hold everybody
-- up until it is again as late as it was.
local time = redis.call('TIME')
local clock = tonumber(time[1]) + tonumber(time[2]) / 1e6
state.shift = math.max(state.shift, state.now - clock)
local now = clock + state.shift
state.now = now

local mine = workers[me] or {call = 0, batch = 0, granted_in = 0}
if call <= mine.call then
  return {0, '0', '0'}  -- it was under way for so long that another one overtook it
end
if seen < mine.granted_in and state.prober == me then
  unsent(pace)
end
if batch > mine.batch then
  for _, each in ipairs(news) do
    if each[1] == 'taken' then
      taken(pace, now)
    elseif each[1] == 'throttled' then
      throttled(pace, each[2], now, each[3])
    else
      unsent(pace)
    end
  end
end
mine.call, mine.batch, mine.held, mine.expires = call, batch, held, now + lease
workers[me] = mine

local out = 0
for name, worker in pairs(workers) do
  if worker.expires <= now then
    if state.prober == name then
      unsent(pace)
    end
    workers[name] = nil
  else
    out = out + worker.held
    if name ~= me and worker.turn and worker.due + TURN < now then
      worker.turn = nil
    end
  end
end

local function take_turn(worker)
  state.turns = state.turns + 1
  worker.turn = state.turns
end

local function ahead_of(worker)
  local count = 0
  for _, other in pairs(workers) do
    if other.turn and other.turn < worker.turn then
      count = count + 1
    end
  end
  return count
end

local function interval()
  return math.max(interval_min, pace.interval or 0)
end

local function is_full()
  return pending > 0 and out >= pending
end

mine.told = nil
if wants == 0 then
  mine.turn = nil
elseif not mine.turn then
  take_turn(mine)
end

local granted, ahead = 0, wants > 0 and ahead_of(mine) or 0
while granted < wants do
  local at = next_start(pace, now)
  if not at or at > now then
    break
  end
  -- Each of those ahead has a claim to one.
  if ahead > 0 and (interval() > 0 or pace.probing) then
    break
  end
  if pending > 0 and out + ahead >= pending then
    break
  end
  started(pace, now, interval_min)
  state.prober, mine.granted_in = me, call
  granted, out, mine.held = granted + 1, out + 1, mine.held + 1
  take_turn(mine)
  if granted == 1 then
    ahead = ahead_of(mine)
  end
end

local at = next_start(pace, now)
local wait = ASK
if granted == wants then
  mine.turn = nil
elseif at and not is_full() then
  ahead = ahead_of(mine)
  wait = at - now
  if ahead > 0 then
    -- Who is first calls for the next one. This is for when it does not, or never comes.
    wait = wait + (interval() > 0 and math.min(ahead * interval(), ASK) or ASK)
  end
end
mine.due = now + wait

if at and not is_full() then
  local first, its_name
  for name, worker in pairs(workers) do
    if worker.turn and (not first or worker.turn < first.turn) then
      first, its_name = worker, name
    end
  end
  if first and first ~= mine and (first.told or first.due) > at + SOON then
    first.told = at
    redis.pcall('PUBLISH', channel .. its_name, '')  -- lost, or forbidden: it asks again
  end
end

redis.call('SET', key, cmsgpack.pack(state), 'EX', KEPT)
return {granted, string.format('%.17g', now), string.format('%.17g', wait)}
