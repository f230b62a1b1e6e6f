/** How a request is turned away. */
import { type ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'

export interface Refusal {
  readonly status: number
  readonly reason: string
}

export function refuse(response: ServerResponse, { status, reason }: Refusal): void {
  response.writeHead(status, headersOf(status, reason)).end(reason)
}

export function refuseUpgrade(stream: Duplex, { status, reason }: Refusal): void {
  const headers = Object.entries(headersOf(status, reason)).map(([name, value]) => `${name}: ${value}\r\n`)
  stream.once('finish', () => stream.destroy())
  stream.end(`HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\n${headers.join('')}\r\n${reason}`)
}

function headersOf(status: number, reason: string): Readonly<Record<string, string>> {
  return {
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': String(Buffer.byteLength(reason)),
    Connection: 'close',
    ...(status === 401 && { 'WWW-Authenticate': 'Bearer' }),
    ...(status === 405 && { Allow: 'GET' }),
    ...(status === 426 && { Upgrade: 'websocket' }),
    ...(status === 503 && { 'Retry-After': '1' }),
  }
}
