/** The file of the change log: its tables, how it is opened, and who may write it. */
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { CoreError } from '../../../core/error.ts'
import { type EarlierOptions, importEarlier, isEarlier, setAside } from './earlier-server.ts'

/** `PRAGMA application_id`: "SlZl". */
const APPLICATION = 0x536c5a6c
/** `PRAGMA user_version`. A file of a higher one was written by a newer version of Sluice. */
const FORMAT = 1

const TABLES = `
CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
-- A source table. state and version are what subscribers see; the copy ones are what a copy has brought so far.
CREATE TABLE tables (
  source TEXT PRIMARY KEY,
  state INTEGER, version INTEGER,
  copy_state INTEGER, copy_version INTEGER
) STRICT, WITHOUT ROWID;
-- Large constant parts of positions, so that a commit does not write them again.
CREATE TABLE position_parts (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
CREATE TABLE versions (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
-- Parts of transactions. time: of the commit in the source; written: of ours. Both in milliseconds since 1970 UTC. masks: which row filters hold before and after, for records of tables that have some.
CREATE TABLE log (
  seq INTEGER PRIMARY KEY, watermark INTEGER NOT NULL, kind INTEGER NOT NULL, time INTEGER, written INTEGER NOT NULL,
  body BLOB NOT NULL, masks BLOB
) STRICT;
CREATE INDEX log_watermark ON log (watermark);
CREATE TABLE publications (name TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, since INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE subscribers (id TEXT PRIMARY KEY, acked INTEGER NOT NULL, seen INTEGER NOT NULL) STRICT, WITHOUT ROWID;
`
/** What a client has of each table, as JSON. Files of before do not have it. */
const SUBSCRIBER_TABLES = 'ALTER TABLE subscribers ADD COLUMN tables TEXT'

/** The writer's connection; holds the file against other processes until it is closed. */
export interface LogFile {
  readonly db: DatabaseSync
  /** A transaction that brought so many bytes of records was committed. */
  committed(bytes: number): void
  close(): void
}

/** Commits, and bytes of records, after which the journal is moved into the file: little enough to take no time. */
const CHECKPOINT_COMMITS = 1000
const CHECKPOINT_BYTES = 8 * 1024 * 1024

/** Opens or makes the file for writing. Throws what Node and SQLite say; see `log-errors.ts`. */
export function openLogFile(path: string, earlier: EarlierOptions): LogFile {
  const file = resolve(path)
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  // Its companions (-wal, -shm) get the same mode.
  for (const name of [file, `${file}-lock`]) make(name)
  // SQLite's own locks end with each transaction: a second file holds one for as long as this process lives.
  const lock = new DatabaseSync(`${file}-lock`)
  try {
    lock.exec('BEGIN EXCLUSIVE')
    const db = openDatabase(file)
    try {
      prepareFile(db)
      importEarlier(db, file, earlier)
    } catch (error) {
      db.close()
      throw error
    }
    let commits = 0
    let written = 0
    return {
      db,
      committed(bytes) {
        written += bytes
        if (++commits < CHECKPOINT_COMMITS && written < CHECKPOINT_BYTES) return
        commits = written = 0
        // While a snapshot is read it gets no further than that; what is left waits for the next time.
        try {
          db.prepare('PRAGMA wal_checkpoint(PASSIVE)').get()
        } catch {
          // What was committed is in the journal: a disk that is full now shows at the next write.
        }
      },
      close() {
        db.close()
        lock.close()
      },
    }
  } catch (error) {
    lock.close()
    throw error
  }
}

/** A connection that only reads; many may be open beside the writer. */
export function openForReading(path: string): DatabaseSync {
  const db = new DatabaseSync(resolve(path), { readOnly: true })
  db.exec('PRAGMA cache_size = -8192')
  return db
}

function make(file: string): void {
  closeSync(openSync(file, 'a', 0o600))
}

/** Where the database of an earlier server lies, that one makes room. */
function openDatabase(file: string): DatabaseSync {
  const db = new DatabaseSync(file)
  try {
    if (!isEarlier(db)) return db
    setAside(db, file)
  } catch (error) {
    db.close()
    throw error
  }
  make(file)
  return new DatabaseSync(file)
}

function prepareFile(db: DatabaseSync): void {
  const { application_id: application } = db.prepare('PRAGMA application_id').get() as {
    application_id: number
  }
  const { user_version: format } = db.prepare('PRAGMA user_version').get() as { user_version: number }
  const { tables } = db.prepare('SELECT count(*) AS tables FROM sqlite_schema').get() as { tables: number }
  if (tables > 0 && application !== APPLICATION)
    throw new CoreError('zero/log-foreign', 'the file of the change log is a database of something else', {
      fix: 'Give the sink another path.',
    })
  if (tables > 0 && format > FORMAT)
    throw new CoreError('zero/log-newer', 'the change log was written by a newer version of Sluice', {
      fix: 'Run that version, or give the sink another path to copy everything anew.',
    })
  if (tables === 0) {
    db.exec('PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL')
    db.exec(`PRAGMA application_id = ${APPLICATION}; PRAGMA user_version = ${FORMAT}`)
  }
  // FULL: a commit is on the disk when it returns.
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -65536')
  // Checkpoints by `committed`: SQLite would try one at each commit while a snapshot is read, for seconds in all.
  db.exec('PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864')
  if (tables === 0) db.exec(`BEGIN IMMEDIATE; ${TABLES} COMMIT`)
  const columns = db.prepare("SELECT name FROM pragma_table_info('subscribers')").all()
  if (!columns.some(({ name }) => name === 'tables')) db.exec(SUBSCRIBER_TABLES)
}
