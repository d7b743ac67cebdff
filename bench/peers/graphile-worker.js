// graphile-worker, tuned as its documentation and its own performance test have it.

import { makeWorkerUtils, run, Logger } from 'graphile-worker';
import { pool, range } from './peer.js';

const quiet = new Logger(() => () => {});

const throughput = {
  localQueue: { size: 500, refetchDelay: { durationMs: 10 } },
  completeJobBatchDelay: 0,
  failJobBatchDelay: 0,
};

export async function open({ database, clients }) {
  const connections = await pool(database, clients + 1);
  const utils = await makeWorkerUtils({ pgPool: connections, logger: quiet });
  await utils.migrate();

  return {
    add: (n) => utils.addJob('bench', { n }),
    fill: (from, to) => utils.addJobs(range(from, to).map((n) => ({ identifier: 'bench', payload: { n } }))),
    async work(workers, body, tuned) {
      const jobs = await pool(database, workers + 1);
      const runner = await run({
        pgPool: jobs,
        logger: quiet,
        noHandleSignals: true,
        taskList: { bench: ({ n }) => body(n) },
        preset: { worker: { concurrentJobs: workers, ...(tuned ? throughput : {}) } },
      });
      return async () => {
        await runner.stop();
        await jobs.end();
      };
    },
    async left() {
      return Number((await connections.query('SELECT count(*) FROM graphile_worker._private_jobs')).rows[0].count);
    },
    clear: () => connections.query('TRUNCATE graphile_worker._private_jobs'),
    async close() {
      await utils.release();
      await connections.end();
    },
  };
}
