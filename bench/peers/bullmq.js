// BullMQ; on Redis, or on PostgreSQL.  Jobs that have ended are not kept: it is
// fastest so.

import { createPostgresBackend, Queue, Worker } from 'bullmq';
import { connection, range } from './peer.js';

const onRedis = () => ({ path: process.env.REDIS_SOCKET, maxRetriesPerRequest: null });
const onPostgres = (database) => (max) => ({ ...connection(database), max, migrate: true });

// connect(n) says how to connect, when n calls are made at once.
async function openOn(connect, clients, ...backend) {
  const queue = new Queue('bench', { connection: connect(clients + 1) }, ...backend);
  await queue.waitUntilReady();

  return {
    add: (n) => queue.add('bench', { n }),
    fill: (from, to) => queue.addBulk(range(from, to).map((n) => ({ name: 'bench', data: { n } }))),
    async work(workers, body) {
      const options = { connection: connect(workers + 1), concurrency: workers, removeOnComplete: { count: 0 } };
      const worker = new Worker('bench', (job) => body(job.data.n), options, ...backend);
      worker.on('error', (error) => console.error(error));
      await worker.waitUntilReady();
      return () => worker.close();
    },
    async left() {
      const counts = await queue.getJobCounts('waiting', 'active', 'prioritized', 'delayed');
      return Object.values(counts).reduce((sum, count) => sum + count, 0);
    },
    clear: () => queue.obliterate({ force: true }),
    close: () => queue.close(),
  };
}

export const redis = { open: ({ clients }) => openOn(onRedis, clients) };
export const postgres = { open: ({ database, clients }) => openOn(onPostgres(database), clients, createPostgresBackend) };
