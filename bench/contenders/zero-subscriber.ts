/**
 * A subscriber of the Zero sink that speaks the protocol of zero-cache and does nothing with what it gets, in a process
 * of its own. Usage: node zero-subscriber.ts <contender> <options as JSON>. `snapshot` takes a snapshot, `tail` what
 * comes after a watermark up to `rows` rows, and both print one JSON line; `stalled` follows, and then reads no more.
 */
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { WebSocket } from 'ws'

interface Options {
  readonly url: string
  readonly rows?: number
  readonly after?: string
}

const [, , contender, json] = process.argv
const options = JSON.parse(json!) as Options
// Whoever started it is gone.
process.stdin.on('end', () => process.exit(0)).resume()

if (contender === 'stalled') await stall()
else {
  const result = await take(options.after ?? null, options.rows ?? Infinity)
  process.stdout.write(`${JSON.stringify(result)}\n`)
  process.exit(0)
}

async function stall(): Promise<void> {
  const { watermark } = await take(null, Infinity)
  const socket = new WebSocket(address(watermark))
  await once(socket, 'open')
  socket.pause()
  process.send!('stalled')
  process.on('message', () =>
    process.send!({ bytes: carrier(socket).bytesRead, isOpen: socket.readyState === WebSocket.OPEN }),
  )
}

/** Reads until the first commit with so many rows. */
async function take(after: string | null, rows: number) {
  const startedCpu = process.cpuUsage()
  const startedAt = performance.now()
  const socket = new WebSocket(address(after))
  let firstAt: number | null = null
  let count = 0
  let watermark = after ?? ''
  await new Promise<void>((resolve, reject) => {
    socket.on('error', reject).on('close', () => reject(new Error('the stream was closed')))
    socket.on('message', (data: Buffer) => {
      firstAt ??= performance.now()
      // `["data",{"tag":"insert",...`, `["commit",...,{"watermark":"..."}]`
      if (data[2] === 0x64) {
        if (data[16] !== 0x63) count++
      } else if (data[2] === 0x63) {
        const [kind, , place] = JSON.parse(data.toString()) as [string, unknown, { watermark: string }]
        if (kind !== 'commit') return reject(new Error(data.toString()))
        ;({ watermark } = place)
        if (after === null || count >= rows) return resolve()
        socket.send(JSON.stringify(['status', { tag: 'commit' }, { watermark }]))
      }
    })
  })
  const seconds = (performance.now() - startedAt) / 1000
  const cpu = process.cpuUsage(startedCpu)
  const { bytesRead } = carrier(socket)
  socket.removeAllListeners('close')
  socket.close()
  return { seconds, cpuSeconds: (cpu.user + cpu.system) / 1e6, rows: count, bytes: bytesRead, watermark }
}

function carrier(socket: WebSocket): Socket {
  return (socket as WebSocket & { readonly _socket: Socket })._socket
}

function address(after: string | null): string {
  const resumed = after === null ? '' : `&lastWatermark=${after}&replicaVersion=${after}`
  return `${options.url}?appID=zero&shardNum=0${resumed}`
}
