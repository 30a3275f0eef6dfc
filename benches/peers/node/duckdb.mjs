// What DuckDB takes for the question of BENCHMARKS.md, "The same in SQL": it reads incidents and their services from CSV
// files into its own tables first, which is not counted, and prints the seconds of each run, and of what was measured the
// count, the mean in seconds, and the counts of all groups added up.
import { DuckDBInstance } from '@duckdb/node-api';

const [incidents, services, since, until, runs] = process.argv.slice(2);
const week = 7 * 86_400_000_000;
const connection = await (await DuckDBInstance.create(':memory:')).connect();
await connection.run(`CREATE TABLE incident AS SELECT * FROM read_csv('${incidents}', header = true,
  columns = {n: 'BIGINT', created_at: 'BIGINT', resolved_at: 'BIGINT', priority: 'TINYINT', source: 'VARCHAR'})`);
await connection.run(`CREATE TABLE service AS SELECT * FROM read_csv('${services}', header = true,
  columns = {label: 'INTEGER', incident: 'BIGINT'})`);

const groups = [
  ['0', ''],
  [`(resolved_at - ${since}) // ${week}`, ''],
  ['priority', ''],
  ['source', ''],
  ['label', 'LEFT JOIN service ON service.incident = incident.n'],
];
const seconds = [];
let told;
for (let run = 0; run < Number(runs); run += 1) {
  const slices = [];
  const began = performance.now();
  for (const [group, join] of groups) {
    const answer = await connection.runAndReadAll(`SELECT ${group} AS slice, count(*), avg(took), min(took), max(took),
        quantile_disc(took, [0.5, 0.75, 0.9, 0.95])
      FROM (SELECT *, resolved_at - created_at AS took FROM incident) AS incident ${join}
      WHERE resolved_at >= ${since} AND resolved_at < ${until} GROUP BY slice`);
    slices.push(...answer.getRows());
  }
  seconds.push((performance.now() - began) / 1_000);
  // The first is of all.
  const [[, count, mean]] = slices;
  told = [Number(count), mean / 1e6, slices.reduce((sum, slice) => sum + Number(slice[1]), 0)];
}
console.log(JSON.stringify([seconds, told]));
