-- The verbs of the job store on Redis. One call is one transaction: Redis runs nothing
-- else meanwhile, and a script that can't begin to write has changed nothing.
--
-- KEYS[1] begins all keys, as `tandem:`. ARGV is the verb, the time in seconds since
-- 1970, and what the verb takes. Without a time it is that of Redis, so that all
-- servers have one.
--
--   job:ID         hash    the job
--   body:ID        string  its request's body, until it ends
--   result:ID      string  its result's body
--   body:ID:B      string  block B of the body of large work, from 0 on
--   result:ID:B    string  block B of its result's
--   run:ID:N:B     string  block B of the result of its attempt N, so far
--   key:KEY        string  the id of the job with this Idempotency-Key
--   queue          stream  the jobs that haven't ended; entry NUMBER-0 has the id
--   returned       zset    number by id: handed to a server, and queued all the same
--   waiting        zset    by id, when its time in the queue is over
--   leases         zset    by id, when the lease of the server that runs it ends
--   ended          zset    by id, when its result expires
--   expired        zset    by id, when it is forgotten that there was this job
--   jobs           zset    number by id
--   status:STATUS  zset    number by id
--   number, bytes  string  the last job's number; bytes of all bodies and results

local GROUP = 'servers'
-- Redis' own expiry only backs up the purge, should no server be left for that.
local SPARE_SECONDS = 24 * 3600
local ORPHAN_MS = 3600 * 1000
-- A string of Redis ends at 512 MiB; large work doesn't.
local BLOCK_BYTES = 8 * 1024 * 1024
local PURGED_AT_A_TIME = 500

local call, verbs = redis.call, {}
local verb, now = ARGV[1], tonumber(ARGV[2])

if not now then
  local time = call('TIME')
  now = time[1] + time[2] / 1e6
end

local function key(kind, name)
  return KEYS[1] .. kind .. (name and ':' .. name or '')
end

local function seconds(time)
  return string.format('%.6f', time)
end

local function table_of(flat)
  local found = {}

  for at = 1, #flat, 2 do
    found[flat[at]] = flat[at + 1]
  end

  return found
end

local function load(id)
  local job = table_of(call('HGETALL', key('job', id)))
  return job.id and job
end

local function shown(id, ...)
  return {'job', call('HGETALL', key('job', id)), ...}
end

-- Returns the job, or nothing and why not.
local function find(id)
  local job = load(id)

  if job and not (job.expires_at and tonumber(job.expires_at) <= now) then
    return job
  end

  if job or call('ZSCORE', key('expired'), id) then
    return nil, {'expired'}
  end

  return nil, {'unknown'}
end

local function stored()
  return tonumber(call('GET', key('bytes')) or 0)
end

-- Returns the job if this run of it still holds.
local function held(id, attempt)
  local job = load(id)
  return job and job.status == 'running' and job.attempts == attempt and job
end

local function block(kind, name, number)
  return key(kind, name) .. ':' .. number
end

-- Calls `change` with each block from `number` on, until it returns 0.
local function each_block(kind, name, number, change)
  while change(block(kind, name, number), number) ~= 0 do
    number = number + 1
  end
end

-- Deletes a body or result, whole or in blocks.
local function erase(kind, name)
  call('DEL', key(kind, name))
  each_block(kind, name, 0, function(place)
    return call('DEL', place)
  end)
end

local function expire(kind, name, ms)
  call('PEXPIRE', key(kind, name), ms)
  each_block(kind, name, 0, function(place)
    return call('PEXPIRE', place, ms)
  end)
end

local function length(kind, name)
  local total = 0
  each_block(kind, name, 0, function(place)
    local nbytes = call('STRLEN', place)
    total = total + nbytes
    return nbytes
  end)
  return total
end

local function keep(kind, id, lasting)
  expire(kind, id, math.ceil((lasting + SPARE_SECONDS) * 1000))
end

local function move(job, status, ...)
  call('ZREM', key('status', job.status), job.id)
  call('ZADD', key('status', status), job.number, job.id)
  call('HSET', key('job', job.id), 'status', status, ...)
  call('HINCRBY', key('job', job.id), 'revision', 1)
end

local function leave_queue(job)
  call('XACK', key('queue'), GROUP, job.number .. '-0')
  call('XDEL', key('queue'), job.number .. '-0')

  for _, kind in ipairs({'returned', 'waiting', 'leases'}) do
    call('ZREM', key(kind), job.id)
  end

  erase('body', job.id)
  erase('run', job.id .. ':' .. job.attempts)
end

local function finish(job, status, bytes, ...)
  local over = now + job.result_seconds
  leave_queue(job)
  call('INCRBY', key('bytes'), bytes - job.bytes)
  call('HDEL', key('job', job.id), 'worker')
  call('ZADD', key('ended'), seconds(over), job.id)
  move(
    job, status, 'bytes', bytes,
    'completed_at', seconds(now), 'expires_at', seconds(over), ...
  )
end

local function forget(job)
  leave_queue(job)
  call('DECRBY', key('bytes'), job.bytes)

  for _, kind in ipairs({'ended', 'jobs', 'status:' .. job.status}) do
    call('ZREM', key(kind), job.id)
  end

  call('DEL', key('job', job.id))
  erase('result', job.id)

  if job.key then
    call('DEL', key('key', job.key))
  end
end

local function lease(job, worker, lasting)
  local entry = job.number .. '-0'
  call('XCLAIM', key('queue'), GROUP, worker, 0, entry, 'JUSTID')
  call('ZADD', key('leases'), seconds(now + lasting), job.id)
  keep('body', job.id, lasting)
end

local function take(job, worker, lasting)
  call('ZREM', key('returned'), job.id)
  call('ZREM', key('waiting'), job.id)
  lease(job, worker, lasting)
  move(
    job, 'running', 'attempts', job.attempts + 1, 'done', 0,
    'worker', worker, 'started_at', seconds(now)
  )
  return shown(job.id)
end

function verbs.submit(body, most_jobs, most_bytes, ...)
  local new, known = table_of({...}), nil
  local keyed = new.key and call('GET', key('key', new.key)) or nil

  for _, id in ipairs({new.id, keyed}) do
    local found = load(id)

    if found and found.digest ~= new.digest then
      return {'conflict'}
    end

    known = known or (found and found.id)
  end

  if known then
    return shown(known)
  end

  local jobs = call('ZCARD', key('status', 'queued'))
    + call('ZCARD', key('status', 'running'))
  local size = tonumber(new.kept_bytes or #body)

  if jobs >= tonumber(most_jobs) or stored() + size > tonumber(most_bytes) then
    return {'full', jobs, stored()}
  end

  if new.kept_bytes and length('body', new.id) < size then
    return {'lost'}
  end

  local id, number = new.id, call('INCR', key('number'))
  local late = seconds(now + new.queue_seconds)
  call(
    'HSET', key('job', id), 'number', number, 'status', 'queued', 'done', 0,
    'attempts', 0, 'revision', 1, 'created_at', seconds(now),
    'queued_until', late, 'bytes', size, ...
  )

  if not new.kept_bytes then
    call('SET', key('body', id), body)
  end

  keep('body', id, new.queue_seconds)
  call('INCRBY', key('bytes'), size)
  call('ZADD', key('jobs'), number, id)
  call('ZADD', key('status', 'queued'), number, id)
  call('ZADD', key('waiting'), late, id)

  if new.key then
    call('SET', key('key', new.key), id)
  end

  if call('EXISTS', key('queue')) == 0 then
    call('XGROUP', 'CREATE', key('queue'), GROUP, 0, 'MKSTREAM')
  end

  call('XADD', key('queue'), number .. '-0', 'id', id)
  return shown(id)
end

function verbs.get(id)
  local job, refusal = find(id)
  return job and shown(id) or refusal
end

-- Returns how many bytes were kept in pieces, or nothing if it was whole.
local function kept_bytes(job, kind)
  return job[kind == 'body' and 'kept_bytes' or 'result_kept_bytes']
end

function verbs.read(id, kind)
  local job, refusal = find(id)

  if not job then
    return refusal
  end

  return shown(id, kept_bytes(job, kind) and '' or call('GET', key(kind, id)))
end

-- Keeps a piece from byte `start` on, of a body or of a run's result.
function verbs.keep(kind, name, start, piece, most_bytes)
  local at, from = tonumber(start), 1

  if stored() + at + #piece > tonumber(most_bytes) then
    return {'full', stored()}
  end

  while from <= #piece do
    local offset = at % BLOCK_BYTES
    local place = block(kind, name, (at - offset) / BLOCK_BYTES)
    local part = string.sub(piece, from, from + BLOCK_BYTES - offset - 1)

    if call('STRLEN', place) ~= offset then
      call('SET', place, offset > 0 and call('GETRANGE', place, 0, offset - 1) or '')
    end

    call('APPEND', place, part)
    at, from = at + #part, from + #part
  end

  -- An earlier try may have got further.
  each_block(kind, name, math.ceil(at / BLOCK_BYTES), function(place)
    return call('DEL', place)
  end)
  expire(kind, name, ORPHAN_MS)
  return {'kept'}
end

function verbs.drop(id)
  if call('EXISTS', key('job', id)) == 0 then
    erase('body', id)
  end

  return 0
end

function verbs.piece(id, kind, start, nbytes)
  local job, refusal = find(id)

  if not job then
    return refusal
  end

  local kept, at = kept_bytes(job, kind), tonumber(start)

  if not kept or call('EXISTS', block(kind, id, 0)) == 0 then
    return {'nothing'}
  end

  local stop, parts = math.min(at + tonumber(nbytes), tonumber(kept)), {}

  while at < stop do
    local offset = at % BLOCK_BYTES
    local count = math.min(stop - at, BLOCK_BYTES - offset)
    local place = block(kind, id, (at - offset) / BLOCK_BYTES)
    parts[#parts + 1] = call('GETRANGE', place, offset, offset + count - 1)
    at = at + count
  end

  return {'piece', table.concat(parts)}
end

function verbs.page(index, model, owner, limit, before)
  local top, found, offset = '+inf', {}, 0

  if before then
    top = '(' .. (call('ZSCORE', key('jobs'), before) or 0)
  end

  repeat
    local ids = call(
      'ZREVRANGEBYSCORE', key(index), top, '-inf', 'LIMIT', offset, limit
    )
    offset = offset + limit

    for _, id in ipairs(ids) do
      local job = find(id)

      local wanted = job and (model == '' or job.model == model)
        and (owner == '' or job.owner == owner)

      if wanted and #found < tonumber(limit) then
        found[#found + 1] = call('HGETALL', key('job', id))
      end
    end
  until #ids < tonumber(limit) or #found == tonumber(limit)

  return found
end

-- Returns the jobs whose lease is over, by number.
local function abandoned(lasting)
  local found = {}
  local over = {'-inf', '(' .. seconds(now)}
  -- No lease is so long: the clock was set back since.
  local never = {'(' .. seconds(now + 2 * lasting), '+inf'}

  for _, range in ipairs({over, never}) do
    for _, id in ipairs(call('ZRANGEBYSCORE', key('leases'), unpack(range))) do
      found[#found + 1] = load(id)
    end
  end

  table.sort(found, function(one, other)
    return tonumber(one.number) < tonumber(other.number)
  end)
  return found
end

function verbs.claim(worker, lasting, most_attempts, poisoned, ...)
  local skipped = {}

  for _, model in ipairs({...}) do
    skipped[model] = true
  end

  -- Those of dead servers, the oldest first.
  for _, job in ipairs(abandoned(lasting)) do
    if not skipped[job.model] then
      if tonumber(job.attempts) < tonumber(most_attempts) then
        return take(job, worker, lasting)
      end

      finish(job, 'failed', 0, 'error', string.format(poisoned, job.attempts))
    end
  end

  local function fits(job)
    return not skipped[job.model] and tonumber(job.queued_until) >= now
  end

  -- Those that were handed out before, which are older than the rest.
  for _, id in ipairs(call('ZRANGE', key('returned'), 0, -1)) do
    local job = load(id)

    if fits(job) then
      return take(job, worker, lasting)
    end
  end

  while call('EXISTS', key('queue')) == 1 do
    local read = call(
      'XREADGROUP', 'GROUP', GROUP, worker, 'COUNT', 1, 'STREAMS', key('queue'), '>'
    )

    if not read then
      break
    end

    local entry = read[1][2][1]
    local job = load(entry[2][2])

    if fits(job) then
      return take(job, worker, lasting)
    end

    -- A stream hands an entry out but once, so it is noted.
    call('ZADD', key('returned'), job.number, job.id)
  end

  return {'none'}
end

function verbs.renew(id, attempt, lasting)
  local job = held(id, attempt)

  if not job then
    return 0
  end

  lease(job, job.worker, lasting)
  return 1
end

function verbs.advance(id, attempt, done)
  local job = held(id, attempt)

  if not job then
    return 0
  end

  move(job, 'running', 'done', done)
  return 1
end

function verbs.complete(id, attempt, status, body, ...)
  local job, run = held(id, attempt), id .. ':' .. attempt
  local kept = tonumber(table_of({...}).result_kept_bytes)

  if not job or (kept and length('run', run) < kept) then
    erase('run', run)
    return 0
  end

  if kept then
    each_block('run', run, 0, function(place, number)
      if call('EXISTS', place) == 0 then
        return 0
      end

      return call('RENAME', place, block('result', id, number))
    end)
  end

  -- It frees memory first: a full Redis refuses a script that begins by taking some.
  finish(job, status, kept or #body, 'done', job.total, ...)

  if not kept then
    call('SET', key('result', id), body)
  end

  keep('result', id, job.result_seconds)
  return 1
end

function verbs.give_back(id, attempt)
  local job = held(id, attempt)

  if not job then
    return 0
  end

  call('ZREM', key('leases'), id)
  call('ZADD', key('returned'), job.number, id)
  call('ZADD', key('waiting'), job.queued_until, id)
  call('HDEL', key('job', id), 'worker', 'started_at')
  move(job, 'queued', 'attempts', job.attempts - 1, 'done', 0)
  return 1
end

function verbs.cancel(id)
  local job, refusal = find(id)

  if not job then
    return refusal
  end

  if job.status == 'queued' or job.status == 'running' then
    finish(job, 'canceled', 0)
  end

  return shown(id)
end

function verbs.delete(id)
  local job, refusal = find(id)

  if not job then
    return refusal
  end

  forget(job)
  return {'deleted'}
end

function verbs.count(...)
  local counts = {}

  for at, status in ipairs({...}) do
    counts[at] = call('ZCARD', key('status', status))
  end

  return counts
end

function verbs.oldest()
  local ids = call('ZRANGE', key('status', 'queued'), 0, 0)
  return ids[1] and call('HGET', key('job', ids[1]), 'created_at')
end

-- Returns how many jobs it ended or forgot; call it until there are none.
function verbs.purge(too_late, remembered)
  local function due(kind, time)
    return call(
      'ZRANGEBYSCORE', key(kind), '-inf', time, 'LIMIT', 0, PURGED_AT_A_TIME
    )
  end

  local late = due('waiting', '(' .. seconds(now))
  local over = due('ended', seconds(now))

  for _, id in ipairs(late) do
    finish(load(id), 'failed', 0, 'error', too_late)
  end

  for _, id in ipairs(over) do
    forget(load(id))
    call('ZADD', key('expired'), seconds(now + remembered), id)
  end

  call('ZREMRANGEBYSCORE', key('expired'), '-inf', seconds(now))
  return #late + #over
end

-- Forgets servers that have long gone, and left nothing behind.
function verbs.sweep(gone_seconds)
  if call('EXISTS', key('queue')) == 1 then
    for _, flat in ipairs(call('XINFO', 'CONSUMERS', key('queue'), GROUP)) do
      local server = table_of(flat)

      if server.pending == 0 and server.idle >= gone_seconds * 1000 then
        call('XGROUP', 'DELCONSUMER', key('queue'), GROUP, server.name)
      end
    end
  end

  return 0
end

return verbs[verb](unpack(ARGV, 3))
