/* SPDX-License-Identifier: Apache-2.0
 * cmd_top.c - the overview on a screen of its own, until q.
 */
#include "sagactl/ctl.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { INTERVAL_MS = 2000, ROWS_DEFAULT = 24, COLUMNS_DEFAULT = 80 };

struct screen {
	struct termios before;
	int            signals; /* a signalfd: sizes, and whatever would end us */
	bool           is_raw;
};

static void enter(struct screen *s)
{
	struct termios raw;
	sigset_t       set;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	s->signals = signalfd(-1, &set, SFD_CLOEXEC);
	s->is_raw = tcgetattr(STDIN_FILENO, &s->before) == 0;
	raw = s->before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	if (s->is_raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

static void leave(struct ctl *c, struct screen *s)
{
	if (s->is_raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &s->before);
	if (s->signals >= 0)
		close(s->signals);
	buf_cstr(&c->out, "\033[?25h\033[?1049l");
	ctl_flush(c);
}

static bool should_end(const struct screen *s, struct pollfd *fds)
{
	struct signalfd_siginfo info;
	char                    key;

	if (fds[1].revents && read(s->signals, &info, sizeof info) == (ssize_t)sizeof info)
		return info.ssi_signo != SIGWINCH;
	if (fds[0].revents)
		return read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 'Q';
	return false;
}

/* Lines of c->out that fit, each cut to the width; what is behind a line's end is cleared. Codes of colours have no
 * width. */
static void frame_add(struct buf *frame, struct str text, unsigned rows, unsigned columns)
{
	unsigned row = 0, column = 0;

	buf_cstr(frame, "\033[H");
	for (size_t i = 0; i < text.n && row < rows; i++) {
		char c = text.p[i];

		if (c == '\033') {
			size_t end = i;
			while (end < text.n && text.p[end] != 'm')
				end++;
			buf_add(frame, text.p + i, end - i + 1 > text.n - i ? text.n - i : end - i + 1);
			i = end;
		} else if (c == '\n') {
			buf_cstr(frame, "\033[K");
			if (++row < rows)
				buf_cstr(frame, "\r\n");
			column = 0;
		} else {
			column += ((unsigned char)c & 0xc0) != 0x80;
			if (column <= columns)
				buf_char(frame, c);
		}
	}
	buf_cstr(frame, "\033[0m\033[J");
}

static void draw(struct ctl *c)
{
	struct winsize size = { 0 };
	struct buf     text = { 0 };

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	buf_str(&text, buf_view(&c->out));
	buf_clear(&c->out);
	frame_add(&c->out, buf_view(&text), size.ws_row ? size.ws_row : ROWS_DEFAULT,
	          size.ws_col ? size.ws_col : COLUMNS_DEFAULT);
	ctl_flush(c);
	buf_fini(&text);
}

/* An answer that fails is shown where the numbers would be: the screen stays, since it may work again. */
static void compose(struct ctl *c)
{
	char             now[32];
	struct err       err;
	const struct ask ask = { .method = "GET", .path = "/v1/overview" };

	buf_fmt(&c->out, "sagactl top  %.*s  %.8s  q: end\n\n", (int)c->client.urls[c->client.url_at].n,
	        c->client.urls[c->client.url_at].p, text_of_time((int64_t)time(NULL) * 1000, now) + 11);
	if (!client_send(&c->client, &ask, &c->answer, &err))
		style_add(&c->out, c->color, STYLE_RED, str_of(err.text));
	else if (c->answer.status != 200)
		style_add(&c->out, c->color, STYLE_RED, look_text(c->answer.json, "detail"));
	else
		show_overview(c, c->answer.json);
	buf_char(&c->out, '\n');
}

enum exit_status run_top(struct ctl *c)
{
	struct screen    screen = { .signals = -1 };
	int64_t          every_ms;
	enum exit_status status = ctl_duration(c, FLAG_interval, INTERVAL_MS, &every_ms);

	if (status != EXIT_DONE)
		return status;
	if (!c->is_terminal || !isatty(STDIN_FILENO) || ctl_has(c, FLAG_json))
		return run_overview(c);
	enter(&screen);
	buf_cstr(&c->out, "\033[?1049h\033[?25l\033[2J");
	ctl_flush(c);
	for (;;) {
		struct pollfd fds[] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .fd = screen.signals, .events = POLLIN } };

		compose(c);
		draw(c);
		if (poll(fds, 2, (int)every_ms) > 0 && should_end(&screen, fds))
			break;
	}
	leave(c, &screen);
	return EXIT_DONE;
}
