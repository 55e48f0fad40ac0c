/* SPDX-License-Identifier: Apache-2.0
 * test_names.c - names of the tests in place of the resolver's.
 */
#include "tests/lib/test_names.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct {
	const char *name, *addresses[3];
} names[] = {
	{ "here.test", { "127.0.0.1" } },
	{ "two.test", { "127.0.0.2", "127.0.0.1" } },      /* nobody listens at the first */
	{ "none.test", { "127.0.0.2", "127.0.0.4" } },
	{ "hole.test", { "127.0.0.3", "127.0.0.1" } },     /* the first does not answer at all */
	{ "denied.test", { "127.0.0.9" } },
	{ "half-denied.test", { "127.0.0.9", "127.0.0.1" } },
};

static unsigned lookups;

unsigned test_names_asked(void)
{
	return __atomic_load_n(&lookups, __ATOMIC_SEQ_CST);
}

static struct addrinfo *add_address(const char *text, const char *service, struct addrinfo *next)
{
	struct addrinfo    *a = calloc(1, sizeof *a + sizeof(struct sockaddr_in));
	struct sockaddr_in *in = (struct sockaddr_in *)(void *)(a + 1);

	in->sin_family = AF_INET;
	in->sin_port = htons((uint16_t)(service ? atoi(service) : 0));
	inet_pton(AF_INET, text, &in->sin_addr);
	*a = (struct addrinfo){ .ai_family = AF_INET, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP,
		                .ai_addrlen = sizeof *in, .ai_addr = (struct sockaddr *)(void *)in, .ai_next = next };
	return a;
}

/* The resolvers of both find this one first. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out)
{
	(void)hints;
	__atomic_add_fetch(&lookups, 1, __ATOMIC_SEQ_CST);
	if (name != NULL && strncmp(name, "hung", 4) == 0) {
		nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
		return EAI_AGAIN;
	}
	for (size_t i = 0; name != NULL && i < sizeof names / sizeof names[0]; i++) {
		if (strcmp(name, names[i].name) != 0)
			continue;
		*out = NULL;
		for (size_t n = 3; n-- > 0;)
			if (names[i].addresses[n] != NULL)
				*out = add_address(names[i].addresses[n], service, *out);
		return 0;
	}
	return EAI_NONAME;
}

void freeaddrinfo(struct addrinfo *a)
{
	while (a != NULL) {
		struct addrinfo *next = a->ai_next;

		free(a);
		a = next;
	}
}
