import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

/**
 * A port on which nobody listens, nor on the ones after it, below those that the system gives to outgoing connections:
 * a server that is down for a while gets it back.
 */
export async function freePort(neighbours = 0): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 31_000)
    const ports = Array.from({ length: neighbours + 1 }, (_, index) => port + index)
    if ((await Promise.all(ports.map(isFree))).every(Boolean)) return port
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, () => server.close(() => resolve(true)))
  })
}
