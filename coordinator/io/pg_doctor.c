/* SPDX-License-Identifier: Apache-2.0
 * pg_doctor.c - what the database says of its settings, sessions and indexes; others judge it.
 */
#include "coordinator/base/mem.h"
#include "coordinator/io/pg_internal.h"
#include "sql/migrations.h"

#include <stdlib.h>

struct doctor_job {
	struct pg_job job;
	doctor_done  *done;
	void         *arg;
};

static void on_facts(struct pg_job *job)
{
	struct doctor_job  *j = (struct doctor_job *)job;
	const PGresult     *r = job->result == LOG_DONE ? job->results[0] : NULL;
	size_t              n = r ? (size_t)PQntuples(r) : 0;
	struct doctor_fact *facts = mem_array(n ? n : 1, sizeof *facts);

	for (size_t i = 0; i < n; i++)
		facts[i] = (struct doctor_fact){ cell_text(r, (int)i, 0), cell_text(r, (int)i, 1) };
	j->done(j->arg, job->result, facts, n, (unsigned)migration_count);
	free(facts);
	pg_job_free(job);
}

static void ask_facts(void *ctx, doctor_done *done, void *arg)
{
	struct pg         *pg = ctx;
	struct doctor_job *j = mem_alloc(sizeof *j);
	struct buf         migrated = { 0 };

	j->done = done;
	j->arg = arg;
	pg_job_begin(&j->job, &pg->store);
	j->job.only_reads = true;
	for (size_t i = 0; i < migration_count; i++)
		buf_cstr(&migrated, migrations[i].sql);
	params_text(pg_job_params(&j->job), buf_view(&migrated));
	pg_job_add(&j->job, SQL_DOCTOR);
	pg_job_send(&j->job, on_facts);
	buf_fini(&migrated);
}

void pg_doctor_verb(struct store_port *port)
{
	port->doctor = ask_facts;
}
