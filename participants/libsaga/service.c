/* SPDX-License-Identifier: Apache-2.0
 * service.c - from a request to its answer, whatever server it came through.
 */
#include "participants/libsaga/internal.h"
#include "participants/libsaga/route.h"
#include "participants/libsaga/saga/xa.h"

#include <stdio.h>
#include <time.h>

static const struct saga_route *find_route(const struct saga_service *s,
					   const struct saga_call *call)
{
	for (size_t i = 0; i < s->route_count; i++)
		if (s->routes[i].op == call->op &&
		    route_fits(s->routes[i].path, call->path, call->path_encoded))
			return &s->routes[i];
	return NULL;
}

static void handle_call(const struct saga_service *s, struct saga_call *call,
                        struct saga_answer *answer)
{
	const struct saga_route *route = find_route(s, call);
	PGconn *db;

	if (!route) {
		/* Not 404: a definition may take that of a cancel for "nothing to undo". */
		answer->status = 400;
		snprintf(answer->log, sizeof(answer->log), "no %s at %.100s",
		         saga_op_name(call->op), call->path);
		saga_answer_error(answer, answer->log);
		return;
	}
	call->route = route->path;
	if (route->before && !route->before(route->ctx, call, answer))
		return;
	saga_answer_fini(answer);
	db = saga_pool_take(s->pool);
	if (route->prepared)
		saga_xa_serve(db, call, route->handler, route->ctx, answer);
	else
		saga_serve(db, call, route->handler, route->ctx, answer);
	saga_pool_give(s->pool, db);
}

void saga_service_handle(const struct saga_service *s, const struct saga_request *request,
			 struct saga_answer *answer)
{
	struct saga_call call;
	enum saga_fault fault;

	memset(answer, 0, sizeof(*answer));
	if (!saga_request_header(request, "Saga-Id")) {
		if (!s->other || !s->other(s->ctx, request, answer)) {
			saga_answer_fini(answer);
			answer->status = 404;
			saga_answer_error(answer, "no such path, or no call of sagad");
		}
		return;
	}
	fault = saga_call_read(request, &s->trust, time(NULL), &call);
	call.path = request->path;
	call.path_encoded = request->path_encoded;
	if (fault == SAGA_FAULT_NONE)
		handle_call(s, &call, answer);
	else
		saga_answer_fault(answer, fault);
	if (fault == SAGA_FAULT_METHOD)
		answer->allow = saga_op_methods(call.op);
	if (s->after)
		s->after(s->ctx, fault == SAGA_FAULT_NONE ? &call : NULL, answer);
}
