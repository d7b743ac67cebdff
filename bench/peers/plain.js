// No queue at all, to compare with: INSERTs by the same client.

import { insert, pool } from './peer.js';

// The same as the job's body.
export const one = {
  async open({ database, clients }) {
    const connections = await pool(database, clients);
    return {
      add: insert(connections),
      clear: () => connections.query('TRUNCATE done'),
      close: () => connections.end(),
    };
  },
};

// The least that a queue in a table can do: it has a key, and the caller wants it.
export const returning = {
  async open({ database, clients }) {
    const connections = await pool(database, clients);
    await connections.query(`CREATE TABLE IF NOT EXISTS plain (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, args jsonb)`);
    const text = 'INSERT INTO plain (args) VALUES ($1) RETURNING id';
    return {
      add: (n) => connections.query({ name: 'plain', text, values: [{ n }] }),
      clear: () => connections.query('TRUNCATE plain'),
      close: () => connections.end(),
    };
  },
};
