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

begin()

local open, places = {}, {}
for place = 7, #ARGV do
  local queue = ARGV[place]
  local priorities = levels_of(queue)
  if priorities and call('SISMEMBER', PAUSED, queue) == 0 then
    if reclaim(queue, moment) + promote(queue, moment) > room then
      wake(queue) -- more than we take has become ready, and nobody was told
    end
    open[#open + 1] = { place = place - 6, queue = queue, levels = each_level(priorities), held = {} }
    places[#places + 1] = place - 6
  end
end

local taken = { whole(moment), '', table.concat(places, ',') }
local kept, index, failed = {}, {}, nil
local bytes = 16 * 1024 * 1024 -- about as much is handed out at a time

local function hold(from, level, tail, envelope)
  local tag = ARGV[3] .. whole(serial) .. ':' .. level
  serial = serial + 1
  room = room - 1
  bytes = bytes - #envelope
  taken[#taken + 1] = from.place
  taken[#taken + 1] = tag
  taken[#taken + 1] = envelope
  kept[#kept + 1] = tag
  kept[#kept + 1] = '[' .. envelope .. tail
  index[#index + 1] = taken_at
  index[#index + 1] = tag
  from.held[#from.held + 1] = until_
  from.held[#from.held + 1] = tag
end

-- take up to `most` from one queue, some at first, as nobody knows how large they are
local function take(from, most)
  local tail = tail_of(from.queue)
  for _, level in ipairs(from.levels) do
    local some = 8
    while most > 0 and bytes > 0 do
      local envelopes = redis.pcall('RPOP', list_of(from.queue, level), math.min(some, most))
      if envelopes and envelopes.err then
        failed = envelopes -- somebody else's key; what was taken from other lists is not to be lost with it
      end
      if not envelopes or envelopes.err then
        break
      end
      for _, envelope in ipairs(envelopes) do
        hold(from, level, tail, envelope)
      end
      if #envelopes < math.min(some, most) then
        break
      end
      most = most - #envelopes
      some = some * 8
    end
  end
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
for _, from in ipairs(open) do
  in_runs('ZADD', held_of(from.queue), from.held, 2)
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
