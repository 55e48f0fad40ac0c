// SPDX-License-Identifier: Apache-2.0
// The service's own database, as little of it as we need: any driver of these shapes will do.

export type Dialect = "postgresql" | "mariadb" | "sqlite";
export type Row = Record<string, unknown>;

/** One connection, for one local transaction at a time. C: what the service's own functions get. */
export interface Session<C = unknown> {
  readonly dialect: Dialect;
  readonly connection: C;
  /** The first row, if there is one. */
  query(sql: string, values?: readonly unknown[]): Promise<Row | undefined>;
  /** PostgreSQL: the first word of the command tag, what the server says it did. */
  command?(sql: string): Promise<string | undefined>;
  /** Undefined: the driver does not tell. */
  inTransaction?(): boolean | undefined;
}

/** Lends sessions. */
export interface Database<C = unknown> {
  /** broken: nobody can tell how the session stands, so it is not used again. */
  use<T>(work: (session: Session<C>, broken: () => void) => Promise<T>): Promise<T>;
}

// ---- PostgreSQL: the shape of pg -----------------------------------------------------------------

export interface PgClient {
  query(sql: string, values?: any[]): Promise<{ rows: any[]; rowCount: number | null; command?: string }>;
  getTransactionStatus?(): string | null;
}
export interface PgPoolClient extends PgClient {
  release(broken?: boolean): void;
}

export function pgSession<C extends PgClient>(connection: C): Session<C> {
  return {
    dialect: "postgresql",
    connection,
    query: async (sql, values) => (await connection.query(sql, values && [...values])).rows?.[0],
    command: async (sql) => (await connection.query(sql)).command,
    inTransaction() {
      const status = connection.getTransactionStatus?.() ?? undefined;
      return status === undefined ? undefined : status !== "I";
    },
  };
}

/** new pg.Pool(…). For the types of pg: postgresql<pg.PoolClient>(pool). */
export function postgresql<C extends PgPoolClient = PgPoolClient>(pool: { connect(): Promise<C> }): Database<C> {
  return {
    async use(work) {
      const client = await pool.connect();
      let isBroken = false;
      try {
        return await work(pgSession(client), () => (isBroken = true));
      } finally {
        client.release(isBroken);
      }
    },
  };
}

// ---- MariaDB: the shape of mysql2/promise --------------------------------------------------------

export interface MariadbConnection {
  query(sql: string, values?: any): Promise<any>;
}
export interface MariadbPoolConnection extends MariadbConnection {
  release(): void;
  destroy(): void;
}

/** Rows come as [rows, fields], those of a procedure as [[rows, status], fields]. */
function firstRow(result: unknown): Row | undefined {
  let row = result;
  while (Array.isArray(row)) row = row[0];
  return row as Row | undefined;
}

export function mariadbSession<C extends MariadbConnection>(connection: C): Session<C> {
  return {
    dialect: "mariadb",
    connection,
    query: async (sql, values) => firstRow(await connection.query(sql, values && [...values])),
  };
}

/** createPool(…) of mysql2/promise. */
export function mariadb<C extends MariadbPoolConnection>(pool: { getConnection(): Promise<C> }): Database<C> {
  return {
    async use(work) {
      const connection = await pool.getConnection();
      let isBroken = false;
      try {
        return await work(mariadbSession(connection), () => (isBroken = true));
      } finally {
        if (isBroken) connection.destroy();
        else connection.release();
      }
    },
  };
}

// ---- SQLite: any driver of this shape ---------------------------------------------------------------

export interface SqliteDatabase {
  exec(sql: string): unknown;
  prepare(sql: string): { run(...values: any[]): unknown; get(...values: any[]): unknown };
  /** node:sqlite has one of them, better-sqlite3 the other. */
  readonly isTransaction?: boolean;
  readonly inTransaction?: boolean;
}

export function sqliteSession<C extends SqliteDatabase>(connection: C): Session<C> {
  return {
    dialect: "sqlite",
    connection,
    async query(sql, values) {
      if (sql.startsWith("SELECT")) return connection.prepare(sql).get(...(values ?? [])) as Row | undefined;
      if (values === undefined) connection.exec(sql);
      else connection.prepare(sql).run(...values);
      return undefined;
    },
    inTransaction: () => connection.isTransaction ?? connection.inTransaction,
  };
}

/** Calls take turns: there is one connection, and a function may wait for something in the midst of its transaction. */
export function sqlite<C extends SqliteDatabase>(connection: C): Database<C> {
  let last: Promise<unknown> = Promise.resolve();
  return {
    use(work) {
      const turn = last.then(() => work(sqliteSession(connection), () => undefined));
      last = turn.catch(() => undefined);
      return turn;
    },
  };
}
