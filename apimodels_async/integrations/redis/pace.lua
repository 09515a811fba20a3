-- The pace of orders, for all processes of an account.
--
-- Line by line what _core/money/order_pace.py does in one process, which says why; a test
-- plays the same orders to both. Here no number is infinite: a probe_at that is nil.
-- The constants are put before this file, from there.

local function new_pace()
  return {
    blocked_until = 0, next_at = 0, probing = false, braked_at = -1,
    streak = 0, run = 0, taken = 0,
  }
end

local function next_start(pace, now)
  if pace.probing and pace.probe_at then
    return nil
  end
  return math.max(now, pace.blocked_until, pace.next_at)
end

local function started(pace, now, interval_min)
  pace.counted_from = pace.counted_from or now
  pace.probe_at = now
  local interval = math.max(interval_min, pace.interval or 0)
  pace.next_at = math.max(now, pace.next_at) + interval
end

local function unsent(pace)
  pace.probe_at = nil
end

local function find(pace, now, wait)
  local span = now - (pace.counted_from or now)
  pace.interval = math.min((span + wait) / math.max(1, pace.taken), PAUSE_MAX)
  pace.next_at = math.max(now, pace.blocked_until)
  pace.probing = false
  pace.counted_from, pace.taken = nil, 0
end

local function taken(pace, now)
  pace.taken = pace.taken + 1
  pace.streak = 0
  pace.run = pace.run + 1
  if pace.probing then
    find(pace, now, 0)
  elseif pace.interval then
    local times = math.max(1, pace.run - RUN_MIN, pace.interval)
    local faster = pace.interval * FASTER ^ math.min(times, FASTER_MOST)
    pace.interval = faster >= FREE and faster or nil
  end
end

local function throttled(pace, start, now, retry_after)
  if retry_after then
    retry_after = math.min(retry_after, RETRY_AFTER_MAX)
    pace.blocked_until = math.max(pace.blocked_until, now + retry_after)
  end
  if not pace.probing or (pace.probe_at and start >= pace.probe_at) then
    pace.probe_at = nil
  end
  if start <= pace.braked_at then
    return
  end
  pace.braked_at = now
  pace.run = 0
  if pace.interval then
    pace.interval = math.min(pace.interval * SLOWER, PAUSE_MAX)
    pace.blocked_until = math.max(pace.blocked_until, now + pace.interval)
    pace.next_at = pace.blocked_until
  else
    local pause = math.min(PAUSE_MAX, PAUSE_MIN * 2 ^ math.min(pace.streak, 10))
    if pace.taken > 0 and retry_after and retry_after >= pause then
      find(pace, now, retry_after)
    else
      pace.blocked_until = math.max(pace.blocked_until, now + pause)
      pace.probing = true
    end
  end
  pace.streak = pace.streak + 1
end
