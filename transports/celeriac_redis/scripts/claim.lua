-- Take messages from queues: in one step they leave their lists and are held, with owner and deadline.
--
-- ARGV[3]  what the tags begin with: it names the consumer
-- ARGV[4]  the number of the first tag
-- ARGV[5]  how many messages at most
-- ARGV[6]  the lease in microseconds
-- ARGV[7...] the queues, of which the first is favoured
-- Returns  {now, next, open, place, tag, envelope, place, tag, envelope, ...}
--          next: when something may first be ready by itself, "" if never; told only where nothing was taken
--          open: the places (from 1) of the queues that exist and are not paused, joined by commas
--          place: which of the queues the envelope after it came from

local moment = now()
local serial = tonumber(ARGV[4])
local room = tonumber(ARGV[5])
local until_ = whole(moment + tonumber(ARGV[6]))
local taken_at = format('%.6f', moment / 1000000)

-- keys of another type must fail here, before anything is taken
call('HLEN', UNACKED)
call('ZCARD', INDEX)

local open, places = {}, {}
for place = 7, #ARGV do
  local queue = ARGV[place]
  local priorities = levels_of(queue)
  if priorities and call('SISMEMBER', PAUSED, queue) == 0 then
    reclaim(queue, moment)
    promote(queue, moment)
    open[#open + 1] = { place = place - 6, queue = queue, levels = each_level(priorities) }
    places[#places + 1] = place - 6
  end
end

local taken = { whole(moment), '', table.concat(places, ',') }
local kept, index, failed = {}, {}, nil

local function take(from, most)
  local tail = tail_of(from.queue)
  local held = {}
  for _, level in ipairs(from.levels) do
    if most <= 0 then
      break
    end
    local envelopes = redis.pcall('RPOP', list_of(from.queue, level), most)
    if envelopes and envelopes.err then
      failed = envelopes -- somebody else's key; what was taken from other lists is not to be lost with it
      envelopes = nil
    end
    for _, envelope in ipairs(envelopes or {}) do
      local tag = ARGV[3] .. whole(serial) .. ':' .. level
      serial = serial + 1
      most = most - 1
      room = room - 1
      taken[#taken + 1] = from.place
      taken[#taken + 1] = tag
      taken[#taken + 1] = envelope
      kept[#kept + 1] = tag
      kept[#kept + 1] = '[' .. envelope .. tail
      index[#index + 1] = taken_at
      index[#index + 1] = tag
      held[#held + 1] = until_
      held[#held + 1] = tag
    end
  end
  in_runs('ZADD', held_of(from.queue), held, 2)
end

local share = math.ceil(room / math.max(#open, 1))
for _, from in ipairs(open) do
  take(from, math.min(share, room))
end
if #open > 1 then
  for _, from in ipairs(open) do
    if room > 0 then
      take(from, room)
    end
  end
end
in_runs('HSET', UNACKED, kept, 2)
in_runs('ZADD', INDEX, index, 2)

if #kept == 0 then
  if failed then
    return failed
  end
  local next
  for _, from in ipairs(open) do
    for _, key in ipairs({ delayed_of(from.queue), held_of(from.queue) }) do
      local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
      local at = tonumber(first[2])
      if at and (not next or at < next) then
        next = at
      end
    end
  end
  taken[2] = next and whole(next) or ''
end
return taken
