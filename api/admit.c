/* SPDX-License-Identifier: Apache-2.0 */
#include "api/admit.h"

#include "coordinator/base/digest.h"
#include "coordinator/base/mem.h"
#include "participants/call.h"

#include <string.h>
#include <strings.h>

/* What a connection proved last: most send the same token with every request, and need no hash for it. */
struct memo {
	uint64_t            generation; /* of the tokens; another one: this is void */
	const struct token *token;
	size_t              n;
	char                text[TOKEN_BYTES_MAX];
};

static bool refuse(struct request *r, enum problem p, const char *detail)
{
	r->refused = true;
	r->refusal = p;
	r->refusal_detail = detail;
	return false;
}

/* ---- who --------------------------------------------------------------------------------- */

static const struct token *find_token(struct request *r, struct str text)
{
	struct api  *a = r->api;
	struct peer *peer = r->x->peer;
	struct memo *m = peer->memo;

	if (m && m->generation == a->generation && m->n == text.n && digest_same(m->text, text.p, text.n))
		return m->token;
	const struct token *t = tokens_find(a->tokens, text);
	if (t == NULL)
		return NULL;
	if (m == NULL)
		m = peer->memo = mem_alloc(sizeof *m);
	m->generation = a->generation;
	m->token = t;
	m->n = text.n;
	memcpy(m->text, text.p, text.n);
	return t;
}

static void become(struct request *r, const struct token *t)
{
	r->who = t->principal;
	/* The set may be replaced while this request waits. */
	r->who.name = arena_str(request_arena(r), t->principal.name);
}

static bool identify_by_token(struct request *r, struct str header)
{
	static const char SCHEME[] = "Bearer ";
	const size_t      n = sizeof SCHEME - 1;

	if (header.n <= n || strncasecmp(header.p, SCHEME, n) != 0)
		return refuse(r, PROBLEM_UNAUTHENTICATED, "Authorization is not of the form: Bearer TOKEN.");
	struct str          text = { header.p + n, header.n - n };
	const struct token *t = text.n <= TOKEN_BYTES_MAX ? find_token(r, text) : NULL;
	if (t == NULL)
		return refuse(r, PROBLEM_UNAUTHENTICATED, "This token is not known here.");
	if (t->until <= request_now(r))
		return refuse(r, PROBLEM_UNAUTHENTICATED, "This token has expired.");
	become(r, t);
	return true;
}

static bool identify_by_certificate(struct request *r)
{
	const struct peer  *peer = r->x->peer;
	const struct token *t = tokens_find_certificate(r->api->tokens, peer->names, peer->name_count);

	if (t == NULL)
		return refuse(r, PROBLEM_UNAUTHENTICATED, "No line of the tokens file names this certificate.");
	if (t->until <= request_now(r))
		return refuse(r, PROBLEM_UNAUTHENTICATED, "The line of this certificate in the tokens file is over.");
	become(r, t);
	return true;
}

/* False: refused. Who sends nothing stays nobody, which is enough for what is public. */
static bool identify(struct request *r)
{
	const struct peer *peer = r->x->peer;
	struct str         header;

	if (r->api->tokens == NULL) {
		if (peer->name_count > 0)
			r->who = (struct principal){ arena_str(request_arena(r), peer->names[0]), ~0u, true };
		return true;
	}
	r->who = (struct principal){ STR("anonymous"), 0, false };
	header = exchange_header(r->x, "Authorization");
	if (header.n > 0)
		return identify_by_token(r, header);
	return peer->name_count == 0 || identify_by_certificate(r);
}

/* ---- how often ------------------------------------------------------------------------------ */

/* A principal by its name, everybody else by address; of IPv6 by the network of one customer. */
static struct str caller_of(const struct request *r, char out[1 + TOKEN_NAME_MAX])
{
	static const uint8_t V4[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
	const uint8_t       *address = r->x->peer->address;

	if (r->who.is_known) {
		struct str name = r->who.name; /* of a certificate that no file names it may be long: its end tells more */

		if (name.n > TOKEN_NAME_MAX)
			name = (struct str){ name.p + name.n - TOKEN_NAME_MAX, TOKEN_NAME_MAX };
		out[0] = '@';
		memcpy(out + 1, name.p, name.n);
		return (struct str){ out, 1 + name.n };
	}
	size_t n = memcmp(address, V4, sizeof V4) == 0 ? 16 : 8;
	out[0] = '#';
	memcpy(out + 1, address, n);
	return (struct str){ out, 1 + n };
}

static bool is_within_rate(struct request *r)
{
	char    caller[1 + TOKEN_NAME_MAX];
	int64_t wait_ms;

	if (r->api->limiter == NULL || r->listener == LISTENER_OPS)
		return true;
	wait_ms = limiter_take(r->api->limiter, caller_of(r, caller), r->x->since_us / 1000, &r->quota);
	if (wait_ms == 0)
		return true;
	r->retry_after_s = (unsigned)((wait_ms + 999) / 1000);
	return refuse(r, PROBLEM_TOO_MANY_REQUESTS, NULL);
}

/* ---- may he ------------------------------------------------------------------------------------ */

/* Replicas have no tokens: they sign with the key that the cluster shares. */
static bool is_replica(const struct request *r)
{
	return replica_verify(r->api->config.replica_key, request_param(r, 0), request_now(r),
	                      exchange_header(r->x, REPLICA_HEADER));
}

static bool is_allowed(struct request *r)
{
	enum role wanted = route_fact(r->match.route)->role;

	if (access_allows(r->who.roles, wanted))
		return true;
	/* Health and numbers for whoever is on this machine. */
	if ((unsigned)r->match.route >= ROUTE_MAIN_COUNT && r->api->config.ops_is_local)
		return true;
	if (wanted == ROLE_REPLICA)
		return is_replica(r) || refuse(r, PROBLEM_FORBIDDEN, NULL);
	return refuse(r, r->who.is_known ? PROBLEM_FORBIDDEN : PROBLEM_UNAUTHENTICATED, NULL);
}

bool admit(struct request *r)
{
	if (r->api->tokens == NULL && r->api->limiter == NULL && r->x->peer->name_count == 0)
		return true;
	/* A wrong token costs its sender as much as a right one. */
	bool known = identify(r);
	if (known || r->refusal == PROBLEM_UNAUTHENTICATED)
		if (!is_within_rate(r))
			return false;
	return known && is_allowed(r);
}

/* ---- no ------------------------------------------------------------------------------------------ */

static void refuse_forbidden(struct request *r)
{
	enum role   wanted = route_fact(r->match.route)->role;
	struct buf  roles = { 0 };

	if (wanted == ROLE_REPLICA) {
		request_problem(r, PROBLEM_FORBIDDEN, "Only replicas of this cluster may ask this; see replica-key-file.");
		return;
	}
	roles_write(r->who.roles, &roles);
	request_header(r, "WWW-Authenticate", "Bearer realm=\"sagad\", error=\"insufficient_scope\"");
	request_problem(r, PROBLEM_FORBIDDEN, "This needs the role %s; %.*s has: %s.", role_name(wanted),
	                (int)r->who.name.n, r->who.name.p, roles.p);
	buf_fini(&roles);
}

void admit_refuse(struct request *r)
{
	if (r->refusal == PROBLEM_FORBIDDEN) {
		refuse_forbidden(r);
		return;
	}
	if (r->refusal == PROBLEM_UNAUTHENTICATED)
		request_header(r, "WWW-Authenticate", "Bearer realm=\"sagad\"%s",
		               r->refusal_detail ? ", error=\"invalid_token\"" : "");
	if (r->refusal_detail)
		request_problem(r, r->refusal, "%s", r->refusal_detail);
	else
		request_problem(r, r->refusal, NULL);
}
