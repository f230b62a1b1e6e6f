/** Watermarks of named clients over HTTP: GET says them, PUT sets one. Everything is in the query. */
import type { ServerResponse } from 'node:http'
import { ClientWatermarks } from './client-watermarks.ts'
import { isClientName } from './gateway-request.ts'
import type { Route, Visit } from './listener.ts'

const WATERMARKS_PATH = '/v1/watermarks'

export function watermarkRoute(clients: ClientWatermarks): Route {
  return {
    path: WATERMARKS_PATH,
    get: (response, visit) => {
      const asked = read(visit)
      if (asked === null) return answer(response, 400, error('the query must have ?client=<name>'))
      const { client, id, table } = asked
      if (table === null) {
        const watermarks = clients.get(id)
        return watermarks === null
          ? answer(response, 404, error('this client has acknowledged nothing'))
          : answer(response, 200, { client, watermarks })
      }
      const watermark = clients.of(id, table)
      if (watermark === null)
        return answer(response, 404, error('this client has acknowledged nothing of it'))
      if (typeof watermark === 'object') return answer(response, watermark.status, error(watermark.refused))
      return answer(response, 200, { client, table, watermark })
    },
    put: (response, visit) => {
      const asked = read(visit)
      const watermark = visit.url.searchParams.get('watermark')
      if (asked === null || asked.table === null || watermark === null)
        return answer(
          response,
          400,
          error('the query must have ?client=<name>&table=<table>&watermark=<text>'),
        )
      const { client, id, table } = asked
      const refusal = clients.set(id, table, watermark)
      if (refusal !== null) return answer(response, refusal.status, error(refusal.refused))
      return answer(response, 200, { client, table, watermark })
    },
  }
}

function read({ url, identity }: Visit): { client: string; id: string; table: string | null } | null {
  const client = url.searchParams.get('client')
  if (client === null || !isClientName(client)) return null
  return { client, id: ClientWatermarks.idOf(identity.name, client), table: url.searchParams.get('table') }
}

function error(message: string): object {
  return { type: 'error', message }
}

function answer(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' })
  response.end(JSON.stringify(body))
}
