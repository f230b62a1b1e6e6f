/** The server of the page: vite for its files, the queries for zero-cache, and statements for the buttons. */
import { mustGetQuery, type ReadonlyJSONValue } from '@rocicorp/zero'
import { handleQueryRequest } from '@rocicorp/zero/server'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import type pg from 'pg'
import { createServer as createVite } from 'vite'

import { queries } from './queries.ts'
import { schema } from './schema.ts'
import { type StatementName, statements } from './statements.ts'

export interface PageOptions {
  readonly port: number
  /** Where the page's client connects. */
  readonly zeroCache: string
  readonly database: pg.Pool
  /** For files that need not stay. */
  readonly folder: string
}

export async function startPage({
  port,
  zeroCache,
  database,
  folder,
}: PageOptions): Promise<AsyncDisposable> {
  const http = createServer((request, response) => {
    const answer = async (): Promise<void> => {
      const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost')
      const [, first, name] = pathname.split('/')
      if (first === 'queries') await answerQueries(request, response, searchParams)
      else if (first === 'statements') await runStatement(name ?? '', request, response, database)
      else vite.middlewares(request, response)
    }
    answer().catch((error: unknown) => {
      response.statusCode = 500
      response.end(error instanceof Error ? error.message : 'It failed.')
    })
  })
  // Not a server of its own: that one would end this process at SIGTERM, before it has cleaned up.
  const vite = await createVite({
    configFile: false,
    appType: 'mpa',
    root: join(import.meta.dirname, 'page'),
    cacheDir: join(folder, 'vite'),
    logLevel: 'warn',
    clearScreen: false,
    define: { ZERO_CACHE: JSON.stringify(zeroCache) },
    // Found in time, so that the page is not loaded a second time.
    optimizeDeps: { include: ['@rocicorp/zero'] },
    server: { middlewareMode: true, hmr: { server: http } },
  })
  http.listen(port, '127.0.0.1')
  await once(http, 'listening')
  return {
    async [Symbol.asyncDispose]() {
      http.closeAllConnections()
      http.close()
      await vite.close()
    },
  }
}

/** zero-cache asks what the queries of a client mean; an application would look here who asks. */
async function answerQueries(
  request: IncomingMessage,
  response: ServerResponse,
  query: URLSearchParams,
): Promise<void> {
  const answer = await handleQueryRequest({
    schema,
    userID: null,
    query,
    body: (await json(request)) as ReadonlyJSONValue,
    handler: (name, args) => mustGetQuery(queries, name).fn({ args, ctx: undefined }),
  })
  response.setHeader('content-type', 'application/json').end(JSON.stringify(answer))
}

/** Runs one of the statements, and answers with its text. */
async function runStatement(
  name: string,
  request: IncomingMessage,
  response: ServerResponse,
  database: pg.Pool,
): Promise<void> {
  if (request.method !== 'POST' || !Object.hasOwn(statements, name)) {
    response.statusCode = 404
    response.end('There is no such statement.')
    return
  }
  const text = statements[name as StatementName]
  const { rowCount } = await database.query(text)
  const lines = text.split('\n').map((line) => line.replace(/^ {4}/, ''))
  response
    .setHeader('content-type', 'text/plain')
    .end(`${lines.join('\n').trim()};\n-- ${rowCount} ${rowCount === 1 ? 'row' : 'rows'}`)
}
