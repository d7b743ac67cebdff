// No queue at all: an INSERT by the same client, to compare with.

import { insert, pool } from './peer.js';

export async function open({ database, clients }) {
  const connections = await pool(database, clients);
  return {
    add: insert(connections),
    clear: () => connections.query('TRUNCATE done'),
    close: () => connections.end(),
  };
}
