// pg-boss, with notifications; for throughput, in batches that are fetched without a
// pause.  The jobs of a batch are worked on one after the other, so that as many go
// on at once as there are workers.

import { PgBoss } from 'pg-boss';
import { connection, pool, range } from './peer.js';

const throughput = { batchSize: 100, burstWhenBatchFull: true };

export async function open({ database, clients }) {
  const boss = new PgBoss({ ...connection(database), max: clients + 1, useListenNotify: true });
  boss.on('error', (error) => console.error(error));
  await boss.start();
  await boss.createQueue('bench', { notify: true });
  const connections = await pool(database, 1);

  return {
    add: (n) => boss.send('bench', { n }),
    fill: (from, to) => boss.insert('bench', range(from, to).map((n) => ({ data: { n } }))),
    async work(workers, body, tuned) {
      const options = { localConcurrency: workers, ...(tuned ? throughput : {}) };
      await boss.work('bench', options, async (jobs) => {
        for (const job of jobs) await body(job.data.n);
      });
      return () => boss.offWork('bench');
    },
    async left() {
      return Number((await connections.query("SELECT count(*) FROM pgboss.job WHERE state < 'completed'")).rows[0].count);
    },
    clear: () => boss.deleteAllJobs('bench'),
    async close() {
      await boss.stop({ graceful: false });
      await connections.end();
    },
  };
}
