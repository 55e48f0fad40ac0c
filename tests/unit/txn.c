/* SPDX-License-Identifier: Apache-2.0
 * txn.c - each phase × event × op × outcome has a row, or a place among what cannot happen.
 */
#include "tests/unit/txn_words.h"

struct rule {
	const char *why, *plan, *before, *event, *does, *after;
};

static const struct rule events[] = {
	/* resume */
	{ "a prepared transaction waits for its caller",
	  "open a:u", "prepared t", "resume", "", "prepared t" },
	{ "an open transaction calls the tries it was asked to call",
	  "open a", "prepared .", "resume", "try(a)", "prepared .T" },
	{ "a resumed transaction asks what it may ask, without a commit",
	  "saga a b c<a", "trying ...", "resume", "try(a) try(b)", "trying .T.T." },
	{ "a call that backs off is left out",
	  "saga a b", "trying .. a.next=2000", "resume", "try(b)", "trying ..T" },
	{ "a confirm goes out again",
	  "tcc a b", "confirming ct", "resume", "confirm(b)", "confirming ctC" },
	{ "a row that only lacks its last move makes it",
	  "tcc a b", "confirming cc", "resume", "commit finish", "confirmed cc" },
	{ "a row whose steps are all ok decides",
	  "tcc a b", "trying tt", "resume", "commit confirm(a) confirm(b)", "confirming tCtC" },
	{ "a cancel goes out again, the last step first",
	  "saga a b<a", "cancelling tt", "resume", "cancel(b)", "cancelling ttX" },
	{ "a confirmed transaction is let go",
	  "tcc a", "confirmed c", "resume", "finish", "confirmed c" },
	{ "a cancelled transaction is let go",
	  "tcc a", "cancelled x", "resume adopted", "finish", "cancelled x" },
	{ "an abandoned transaction is let go",
	  "tcc a", "abandoned .", "resume", "finish", "abandoned ." },
	/* tick */
	{ "the deadline of an open transaction cancels it",
	  "open a:u b:u", "prepared tt deadline=1000", "tick", "commit cancel(b)",
	  "cancelling ttX" },
	{ "the deadline of an open transaction without steps just ends it",
	  "open", "prepared deadline=900", "tick", "commit finish", "cancelled" },
	{ "the deadline of a message asks its sender",
	  "message a", "prepared . deadline=1000", "tick", "check(?)", "prepared . ?" },
	{ "before its deadline a message asks nobody",
	  "message a", "prepared . deadline=1001", "tick", "", "prepared ." },
	{ "the deadline cancels what may have been tried, and only that",
	  "saga a b c<a,b", "trying t.T. deadline=1000", "tick", "commit cancel(a)",
	  "cancelling tX.Tu" },
	{ "a deadline that has not come decides nothing",
	  "saga a", "trying .T deadline=1001", "tick", "", "trying .T" },
	{ "the deadline of a pivot that may be done decides nothing",
	  "saga a b:pn", "trying t. deadline=1000", "tick", "try(b)", "trying t.T" },
	{ "the deadline before the start cancels without a call",
	  "saga a", "trying . deadline=1000 start=1000", "tick", "commit finish", "cancelled u" },
	{ "its time to start is logged before the first call",
	  "saga a", "trying . start=1000", "tick", "commit try(a)", "trying .T" },
	{ "before its time nothing is called",
	  "saga a", "trying . start=1001", "tick", "", "trying ." },
	{ "a transaction with nothing to try decides when it starts",
	  "saga a:r", "trying . start=1000", "tick", "commit try(a)", "confirming .T" },
	{ "a confirm is called again when its back-off is over",
	  "tcc a", "confirming t a.attempts=1 a.first=900 a.next=1000", "tick", "confirm(a)",
	  "confirming tC" },
	{ "the deadline does not stop a confirm",
	  "tcc a", "confirming tC deadline=1", "tick", "", "confirming tC" },
	{ "a cancel waits for its back-off",
	  "tcc a", "cancelling t a.attempts=1 a.first=900 a.next=1001", "tick", "",
	  "cancelling t" },
	{ "time does not touch a confirmed transaction",
	  "tcc a", "confirmed c deadline=1", "tick", "finish", "confirmed c" },
	{ "time does not touch a cancelled transaction",
	  "tcc a", "cancelled x deadline=1 a.first=1", "tick", "finish", "cancelled x" },
	{ "time does not touch an abandoned transaction",
	  "saga a", "abandoned . deadline=1 start=1", "tick", "finish", "abandoned ." },
	/* confirm */
	{ "the caller's confirm goes to every step at once",
	  "open a:u b:u", "prepared tt", "confirm", "commit confirm(a) confirm(b) accepted",
	  "confirming tCtC" },
	{ "a confirm with nothing to do is the end",
	  "open", "prepared", "confirm", "commit finish accepted", "confirmed" },
	{ "a message may go out",
	  "message a b<a", "prepared ..", "confirm", "commit try(a) accepted", "confirming .T." },
	{ "a try that was not answered yet forbids the confirm",
	  "open a:u b", "prepared t.T", "confirm", "not_ready", "prepared t.T" },
	{ "a confirm after the deadline finds the cancel decided",
	  "open a:u", "prepared t deadline=1000", "confirm", "commit cancel(a) decided",
	  "cancelling tX" },
	{ "nobody confirms a defined saga",
	  "saga a", "trying .T", "confirm", "not_open", "trying .T" },
	{ "a second confirm changes nothing",
	  "open a:u", "confirming tC", "confirm", "already", "confirming tC" },
	{ "a confirm after the end of a confirm changes nothing",
	  "open a:u", "confirmed c", "confirm", "finish already", "confirmed c" },
	{ "a confirm does not revise a cancel",
	  "open a:u", "cancelling tX", "confirm", "decided", "cancelling tX" },
	{ "a confirm does not revise the end of a cancel",
	  "open a:u", "cancelled x", "confirm", "finish decided", "cancelled x" },
	{ "a confirm comes too late for an abandoned transaction",
	  "open a:u", "abandoned t", "confirm", "finish ended", "abandoned t" },
	/* cancel */
	{ "the caller's cancel goes in reverse order of joining",
	  "open a:u b:u", "prepared tt", "cancel", "commit cancel(b) accepted", "cancelling ttX" },
	{ "a prepared message is forgotten",
	  "message a b", "prepared ..", "cancel", "commit finish accepted", "cancelled uu" },
	{ "a cancel spares the steps that nobody can have tried",
	  "saga a b<a c<b", "trying tt.T", "cancel operator", "commit accepted",
	  "cancelling tt.T" },
	{ "a cancel with nothing to undo is the end",
	  "saga a:n b<a", "trying t.", "cancel", "commit cancel(b) accepted", "cancelling t.X" },
	{ "an open transaction that was to start later is cancelled now",
	  "open a:u", "prepared t start=2000", "cancel", "commit cancel(a) accepted",
	  "cancelling tX" },
	{ "before the start a cancel is the end",
	  "saga a b", "trying .. start=2000", "cancel", "commit finish accepted", "cancelled uu" },
	{ "a pivot without cancel that may be done is not cancelled",
	  "saga a b:pn<a", "trying t.T", "cancel", "in_doubt", "trying t.T" },
	{ "a pivot with a cancel is",
	  "saga a b:p<a", "trying t.", "cancel", "commit cancel(b) accepted", "cancelling t.X" },
	{ "a pivot that cannot have been called does not stand in the way",
	  "saga a b:pn<a", "trying .T.", "cancel", "commit accepted", "cancelling .Tu" },
	{ "a cancel does not revise a confirm",
	  "tcc a", "confirming tC", "cancel", "decided", "confirming tC" },
	{ "a cancel does not revise the end of a confirm",
	  "tcc a", "confirmed c", "cancel", "finish decided", "confirmed c" },
	{ "a second cancel changes nothing",
	  "tcc a", "cancelling tX", "cancel", "already", "cancelling tX" },
	{ "a cancel after the end of a cancel changes nothing",
	  "tcc a", "cancelled x", "cancel", "finish already", "cancelled x" },
	{ "a cancel comes too late for an abandoned transaction",
	  "tcc a", "abandoned t", "cancel", "finish ended", "abandoned t" },
	/* join */
	{ "a step joins and is called when the caller wants that",
	  "open a:u", "prepared t", "join", "commit try(b) accepted", "prepared t.T" },
	{ "a step that its caller tries counts as tried from the start",
	  "open a:u", "prepared t", "join u", "commit accepted", "prepared tt" },
	{ "nothing joins after the deadline",
	  "open a:u", "prepared t deadline=1000", "join u", "commit cancel(a) decided",
	  "cancelling tX" },
	{ "nothing joins a message",
	  "message a", "prepared .", "join", "not_open", "prepared ." },
	{ "nothing joins a defined transaction",
	  "tcc a", "trying .T", "join", "not_open", "trying .T" },
	{ "nothing joins after confirm was decided",
	  "open a:u", "confirming tC", "join", "decided", "confirming tC" },
	{ "nothing joins after the confirm",
	  "open a:u", "confirmed c", "join", "finish decided", "confirmed c" },
	{ "nothing joins after cancel was decided",
	  "open a:u", "cancelling tX", "join", "decided", "cancelling tX" },
	{ "nothing joins after the cancel",
	  "open a:u", "cancelled x", "join", "finish decided", "cancelled x" },
	{ "nothing joins what was abandoned",
	  "open a:u", "abandoned t", "join", "finish ended", "abandoned t" },
	/* pause */
	{ "a person stops a prepared transaction",
	  "open a:u", "prepared t", "pause", "commit accepted", "prepared t paused" },
	{ "a person stops the tries",
	  "saga a b", "trying t.", "pause", "commit accepted", "trying t. paused" },
	{ "a second pause changes nothing",
	  "saga a", "trying .T paused", "pause", "already", "trying .T paused" },
	{ "a person stops the confirms",
	  "tcc a", "confirming t", "pause", "commit accepted", "confirming t paused" },
	{ "a person stops the cancels",
	  "tcc a", "cancelling t", "pause", "commit accepted", "cancelling t paused" },
	{ "what is confirmed is not paused",
	  "tcc a", "confirmed c", "pause", "finish ended", "confirmed c" },
	{ "what is cancelled is not paused",
	  "tcc a", "cancelled x", "pause", "finish ended", "cancelled x" },
	{ "what was abandoned is not paused",
	  "tcc a", "abandoned t", "pause", "finish ended", "abandoned t" },
	/* unpause */
	{ "a deadline that passed in the pause decides when it ends",
	  "open a:u", "prepared t paused deadline=500", "unpause", "commit cancel(a) accepted",
	  "cancelling tX" },
	{ "the tries go on at once",
	  "saga a b", "trying t. paused", "unpause", "commit try(b) accepted", "trying t.T" },
	{ "the confirms go on at once",
	  "tcc a", "confirming t paused", "unpause", "commit confirm(a) accepted",
	  "confirming tC" },
	{ "the cancels go on at once",
	  "tcc a", "cancelling t paused", "unpause", "commit cancel(a) accepted", "cancelling tX" },
	{ "what is not paused need not go on",
	  "tcc a", "cancelling tX", "unpause", "already", "cancelling tX" },
	{ "what is confirmed does not go on",
	  "tcc a", "confirmed c", "unpause", "finish ended", "confirmed c" },
	{ "what is cancelled does not go on",
	  "tcc a", "cancelled x", "unpause", "finish ended", "cancelled x" },
	{ "what was abandoned does not go on",
	  "tcc a", "abandoned t", "unpause", "finish ended", "abandoned t" },
	/* retry */
	{ "a check is made now when a person wants it",
	  "message a", "prepared . deadline=500 ?.attempts=3 ?.first=500 ?.next=5000", "retry",
	  "commit check(?) accepted", "prepared . ?" },
	{ "a try is made now when a person wants it",
	  "saga a", "trying . a.attempts=3 a.first=500 a.next=5000", "retry",
	  "commit try(a) accepted", "trying .T" },
	{ "an early question to one who is at it is written down, since a person wants it",
	  "saga a", "trying . a.ongoing a.next=5000", "retry", "commit try(a) accepted", "trying .T" },
	{ "what a person changes about a step is tried at once",
	  "saga a", "trying . a.attempts=3 a.first=500 a.next=5000", "patch a",
	  "commit try(a) accepted", "trying .T" },
	{ "a call under way goes on as it was",
	  "open a:u b", "prepared t.T", "patch b", "commit accepted", "prepared t.T" },
	{ "a confirm goes out as it was changed",
	  "tcc a", "confirming t a.next=5000", "patch a", "commit confirm(a) accepted", "confirming tC" },
	{ "so does a cancel",
	  "tcc a", "cancelling t a.next=5000", "patch a", "commit cancel(a) accepted", "cancelling tX" },
	{ "what is confirmed cannot be changed", "tcc a", "confirmed c", "patch a", "finish ended", "confirmed c" },
	{ "nor what is cancelled", "tcc a", "cancelled x", "patch a", "finish ended", "cancelled x" },
	{ "nor what is abandoned", "tcc a", "abandoned t", "patch a", "finish ended", "abandoned t" },
	{ "an open one is given away", "open a:u", "prepared t", "release", "release accepted", "prepared t" },
	{ "with its calls under way", "saga a", "trying .T", "release", "release accepted", "trying .T" },
	{ "although its deadline has passed: whoever takes it decides",
	  "saga a", "trying . deadline=500 a.next=5000", "release", "release accepted", "trying ." },
	{ "also while it is confirmed", "tcc a", "confirming t a.next=5000", "release", "release accepted", "confirming t" },
	{ "or cancelled", "tcc a", "cancelling t a.next=5000", "release", "release accepted", "cancelling t" },
	{ "but not when it is confirmed", "tcc a", "confirmed c", "release", "finish ended", "confirmed c" },
	{ "nor cancelled", "tcc a", "cancelled x", "release", "finish ended", "cancelled x" },
	{ "nor abandoned", "tcc a", "abandoned t", "release", "finish ended", "abandoned t" },
	{ "a confirm is made now when a person wants it",
	  "tcc a", "confirming t a.attempts=3 a.first=500 a.next=5000", "retry",
	  "commit confirm(a) accepted", "confirming tC" },
	{ "a poisoned row goes on when a person wants it",
	  "tcc a", "cancelling t poison", "retry", "commit cancel(a) accepted", "cancelling tX" },
	{ "with every call under way there is nothing to retry",
	  "tcc a", "cancelling tX", "retry", "already", "cancelling tX" },
	{ "a paused transaction forgets its failures but stays paused",
	  "tcc a", "cancelling t paused a.attempts=3 a.first=500 a.next=5000", "retry",
	  "commit accepted", "cancelling t paused" },
	{ "what is confirmed is not retried",
	  "tcc a", "confirmed c", "retry", "finish ended", "confirmed c" },
	{ "what is cancelled is not retried",
	  "tcc a", "cancelled x", "retry", "finish ended", "cancelled x" },
	{ "what was abandoned is not retried",
	  "tcc a", "abandoned t", "retry", "finish ended", "abandoned t" },
	{ "what was put off is called now when a person wants it",
	  "saga a", "trying . a.off=5000", "retry", "commit try(a) accepted", "trying .T" },
	/* put off */
	{ "a check that was not made waits without a commit",
	  "message a", "prepared . deadline=500 ?", "put_off check check 1500", "", "prepared ." },
	{ "a try that was not made uses up nothing",
	  "saga a attempts=1", "trying .T", "put_off a try 1500", "", "trying ." },
	{ "for a participant that is down it counts as failing from now on",
	  "saga a", "trying .T", "put_off a try 1500 failing", "commit", "trying ." },
	{ "once is enough to say so",
	  "saga a", "trying .T a.first=900", "put_off a try 1500 failing", "", "trying ." },
	{ "others take its place meanwhile",
	  "saga parallel=1 a b", "trying .T.", "put_off a try 1500", "try(b)", "trying ..T" },
	{ "the deadline goes on deciding",
	  "saga a", "trying .T deadline=1000", "put_off a try 1500", "commit cancel(a)", "cancelling .X" },
	{ "a try that cancel waited for makes way for it",
	  "saga a", "cancelling .T", "put_off a try 1500 failing", "cancel(a)", "cancelling .X" },
	{ "a confirm that was not made waits",
	  "tcc a b", "confirming tCtC", "put_off a confirm 1500", "", "confirming ttC" },
	{ "a cancel that was not made waits",
	  "tcc a b", "cancelling tXtX", "put_off a cancel 1500", "", "cancelling ttX" },
	{ "of another op than the open one it says nothing",
	  "tcc a", "cancelling tX", "put_off a confirm 1500 failing", "", "cancelling tX" },
	{ "after the confirm it says nothing",
	  "tcc a", "confirmed c", "put_off a confirm 1500 failing", "finish", "confirmed c" },
	{ "after the cancel it says nothing",
	  "tcc a", "cancelled x", "put_off a cancel 1500 failing", "finish", "cancelled x" },
	{ "after a person ended it it says nothing",
	  "tcc a", "abandoned t", "put_off a confirm 1500 failing", "finish", "abandoned t" },
	{ "before its time nothing that was put off is called",
	  "saga a b", "trying .. a.off=1001", "tick", "try(b)", "trying ..T" },
	{ "at its time it is",
	  "saga a", "trying . a.off=1000", "tick", "try(a)", "trying .T" },
	{ "a back-off that is longer still counts",
	  "saga a", "trying . a.off=900 a.next=1100", "tick", "", "trying ." },
	/* room */
	{ "with room again a check is made before its time",
	  "message a", "prepared . deadline=500 ?.off=5000", "room", "check(?)", "prepared . ?" },
	{ "with room again a try is made before its time",
	  "saga a b", "trying .. a.off=5000 b.off=5000", "room", "try(a) try(b)", "trying .T.T" },
	{ "room shortens no back-off",
	  "saga a", "trying . a.off=5000 a.next=2000", "room", "", "trying ." },
	{ "with room again a confirm is made before its time",
	  "tcc a", "confirming t a.off=5000", "room", "confirm(a)", "confirming tC" },
	{ "with room again a cancel is made before its time",
	  "tcc a", "cancelling t a.off=5000", "room", "cancel(a)", "cancelling tX" },
	{ "room is nothing to what is confirmed",
	  "tcc a", "confirmed c", "room", "finish", "confirmed c" },
	{ "room is nothing to what is cancelled",
	  "tcc a", "cancelled x", "room", "finish", "cancelled x" },
	{ "room is nothing to what was abandoned",
	  "tcc a", "abandoned t", "room", "finish", "abandoned t" },
	/* stuck */
	{ "a poisoned row does not even pass its deadline",
	  "open a:u", "prepared t deadline=500", "stuck poison", "commit", "prepared t poison" },
	{ "a bad row calls nobody",
	  "saga a", "trying .", "stuck bad_row", "commit", "trying . bad_row" },
	{ "poison said twice is poison",
	  "saga a", "trying . poison", "stuck poison", "", "trying . poison" },
	{ "a poisoned row confirms nothing",
	  "tcc a", "confirming t", "stuck poison", "commit", "confirming t poison" },
	{ "a poisoned row cancels nothing",
	  "tcc a", "cancelling t", "stuck poison", "commit", "cancelling t poison" },
	{ "what is confirmed is not stuck",
	  "tcc a", "confirmed c", "stuck poison", "finish", "confirmed c" },
	{ "what is cancelled is not stuck",
	  "tcc a", "cancelled x", "stuck poison", "finish", "cancelled x" },
	{ "what was abandoned is not stuck",
	  "tcc a", "abandoned t", "stuck poison", "finish", "abandoned t" },
	/* abandon */
	{ "a person ends a prepared transaction",
	  "open a", "prepared .T", "abandon", "commit finish accepted", "abandoned ." },
	{ "a person ends a message; the answer to its check is not waited for",
	  "message a", "prepared . ?", "abandon", "commit finish accepted", "abandoned ." },
	{ "a person ends a poisoned row, and it is not stuck any more",
	  "saga a", "trying . poison", "abandon", "commit finish accepted", "abandoned ." },
	{ "a person ends the tries, in doubt or not",
	  "saga a:pn", "trying .T", "abandon", "commit finish accepted", "abandoned ." },
	{ "a person ends the confirms",
	  "tcc a b", "confirming ctC paused", "abandon", "commit finish accepted", "abandoned ct" },
	{ "a person ends the cancels",
	  "tcc a b", "cancelling tXx", "abandon", "commit finish accepted", "abandoned tx" },
	{ "what is confirmed is not abandoned",
	  "tcc a", "confirmed c", "abandon", "finish ended", "confirmed c" },
	{ "what is cancelled is not abandoned",
	  "tcc a", "cancelled x", "abandon", "finish ended", "cancelled x" },
	{ "a second abandon changes nothing",
	  "tcc a", "abandoned t", "abandon", "finish already", "abandoned t" },
};

static const struct rule answers[] = {
	/* prepared */
	{ "an ok try of an open transaction is logged and waits for the caller",
	  "open a", "prepared .T", "try a ok", "commit", "prepared t" },
	{ "a refused try of an open transaction decides cancel and is cancelled itself",
	  "open a:u b", "prepared t.T", "try b refused", "commit cancel(b)", "cancelling trX" },
	{ "a participant that works on it is asked again later",
	  "open a", "prepared .T", "try a ongoing", "commit", "prepared ." },
	{ "not knowing decides nothing in an open transaction",
	  "open a", "prepared .T", "try a unknown", "commit", "prepared ." },
	{ "an answer outside the contract decides nothing in an open transaction",
	  "open a", "prepared .T", "try a misconfigured", "commit", "prepared ." },
	{ "the sender committed: the message goes out",
	  "message a", "prepared . ? deadline=500", "check check ok", "commit try(a)",
	  "confirming .T" },
	{ "the sender did not commit: the message is dropped",
	  "message a", "prepared . ? deadline=500", "check check refused", "commit finish",
	  "cancelled u" },
	{ "the sender is still at it",
	  "message a", "prepared . ? deadline=500", "check check ongoing", "commit", "prepared ." },
	{ "the sender does not answer",
	  "message a", "prepared . ? deadline=500", "check check unknown", "commit", "prepared ." },
	{ "the sender does not know the contract",
	  "message a", "prepared . ? deadline=500", "check check misconfigured", "commit",
	  "prepared ." },
	/* trying */
	{ "an outcome is logged before the step behind it is tried",
	  "saga a b<a", "trying .T.", "try a ok", "commit try(b)", "trying t.T" },
	{ "the last ok decides confirm in the same commit",
	  "tcc a b", "trying t.T", "try b ok", "commit confirm(a) confirm(b)", "confirming tCtC" },
	{ "the last ok of a saga is its end",
	  "saga a b", "trying t.T", "try b ok", "commit finish", "confirmed tt" },
	{ "the last ok releases the retriable steps",
	  "saga a b:r", "trying .T.", "try a ok", "commit try(b)", "confirming t.T" },
	{ "the pivot waits for every compensatable step, said or not",
	  "saga a b c:p<a", "trying .T.T.", "try a ok", "commit", "trying t.T." },
	{ "the pivot that is done decides confirm even after the deadline",
	  "saga a:pn", "trying .T deadline=500", "try a ok", "commit finish", "confirmed t" },
	{ "so does any other last ok",
	  "tcc a", "trying .T deadline=500", "try a ok", "commit confirm(a)", "confirming tC" },
	{ "an ok that decides nothing does not stop the deadline",
	  "saga a b:pn", "trying .T. deadline=500", "try a ok", "commit cancel(a)",
	  "cancelling tXu" },
	{ "a refused try is cancelled too",
	  "saga a b<a", "trying t.T", "try b refused", "commit cancel(b)", "cancelling trX" },
	{ "a refused pivot without a cancel lets the others be cancelled",
	  "saga a b:pn<a", "trying t.T", "try b refused", "commit cancel(a)", "cancelling tXr" },
	{ "a refusal waits for no other try, a cancel does",
	  "saga a b", "trying .T.T", "try a refused", "commit cancel(a)", "cancelling rX.T" },
	{ "a bare conflict on the first attempt is a refusal",
	  "saga a", "trying .T", "try a refused bare", "commit cancel(a)", "cancelling rX" },
	{ "a bare conflict after an attempt of unknown fate proves nothing",
	  "saga a", "trying .T a.attempts=1", "try a refused bare", "commit", "trying ." },
	{ "a bare conflict after an earlier owner's attempt proves nothing",
	  "saga a", "trying .T a.doubt", "try a refused bare", "commit", "trying ." },
	{ "nor does one after the participant said that it is at work",
	  "saga a", "trying .T a.ongoing", "try a refused bare", "commit", "trying ." },
	{ "a first ongoing is logged",
	  "saga a", "trying .T", "try a ongoing", "commit", "trying ." },
	{ "further ones need no commit",
	  "saga a", "trying .T a.ongoing", "try a ongoing", "", "trying ." },
	{ "not knowing decides nothing while trying",
	  "saga a b", "trying .T.T", "try a unknown", "commit", "trying ..T" },
	{ "an answer outside the contract decides nothing while trying",
	  "saga a", "trying .T", "try a misconfigured", "commit", "trying ." },
	/* confirming */
	{ "a retriable step that is done releases the next",
	  "saga a b:r c:r<b", "confirming t.T.", "try b ok", "commit try(c)", "confirming tt.T" },
	{ "a retriable step cannot refuse",
	  "saga a:r", "confirming .T", "try a refused", "commit", "confirming ." },
	{ "a retriable step may take its time",
	  "saga a:r", "confirming .T", "try a ongoing", "commit", "confirming ." },
	{ "a retriable step that does not answer is called again later",
	  "saga a:r", "confirming .T", "try a unknown", "commit", "confirming ." },
	{ "a retriable step outside the contract is called again later",
	  "saga a:r", "confirming .T", "try a misconfigured", "commit", "confirming ." },
	{ "the last confirm is the end",
	  "tcc a b", "confirming ctC", "confirm b ok", "commit finish", "confirmed cc" },
	{ "a confirm releases what stands behind it",
	  "tcc a b<a", "confirming tCt", "confirm a ok", "commit confirm(b)", "confirming ctC" },
	{ "a confirm cannot be refused",
	  "tcc a", "confirming tC", "confirm a refused", "commit", "confirming t" },
	{ "what is gone cannot be confirmed: a person is needed at once",
	  "tcc a", "confirming tC", "confirm a refused gone", "commit", "confirming t gone" },
	{ "a confirm may take its time",
	  "tcc a", "confirming tC", "confirm a ongoing", "commit", "confirming t" },
	{ "a confirm that is not answered is repeated later",
	  "tcc a", "confirming tC", "confirm a unknown", "commit", "confirming t" },
	{ "a confirm outside the contract is repeated later",
	  "tcc a", "confirming tC", "confirm a misconfigured", "commit", "confirming t" },
	/* cancelling */
	{ "a late ok is logged before its cancel goes out",
	  "saga a b", "cancelling .Tr", "try a ok", "commit cancel(b) cancel(a)",
	  "cancelling tXrX" },
	{ "a late refusal is logged, and cancelled all the same",
	  "saga a", "cancelling .T", "try a refused", "commit cancel(a)", "cancelling rX" },
	{ "a late ongoing lets the cancel go out",
	  "saga a", "cancelling .T", "try a ongoing", "cancel(a)", "cancelling .X" },
	{ "a late unknown lets the cancel go out",
	  "saga a", "cancelling .T", "try a unknown", "cancel(a)", "cancelling .X" },
	{ "a late answer outside the contract lets the cancel go out",
	  "saga a", "cancelling .T", "try a misconfigured", "cancel(a)", "cancelling .X" },
	{ "a step without cancel is waited for all the same",
	  "saga a b:n<a", "cancelling t.T", "try b unknown", "cancel(a)", "cancelling tX." },
	{ "the last cancel is the end",
	  "saga a b<a", "cancelling tXu", "cancel a ok", "commit finish", "cancelled xu" },
	{ "a cancel releases what stands before it",
	  "saga a b<a c:n<b", "cancelling ttXu", "cancel b ok", "commit cancel(a)",
	  "cancelling tXxu" },
	{ "a cancel cannot be refused",
	  "saga a", "cancelling tX", "cancel a refused", "commit", "cancelling t" },
	{ "a cancel may take its time",
	  "saga a", "cancelling tX", "cancel a ongoing", "commit", "cancelling t" },
	{ "a cancel that is not answered is repeated later",
	  "saga a", "cancelling tX", "cancel a unknown", "commit", "cancelling t" },
	{ "a cancel outside the contract is repeated later",
	  "saga a", "cancelling tX", "cancel a misconfigured", "commit", "cancelling t" },
};

/* What a callback, or a person, says. */
static const struct rule reports[] = {
	/* prepared */
	{ "a callback settles a try; our own call may still be open",
	  "open a", "prepared .T", "callback try a ok", "commit accepted", "prepared tT" },
	{ "a callback may refuse a try",
	  "open a:u b", "prepared t.", "callback try b refused", "commit cancel(b) accepted",
	  "cancelling trX" },
	{ "nobody confirms before the decision",
	  "open a", "prepared t", "callback confirm a ok", "no_step", "prepared t" },
	{ "nobody refuses a confirm before the decision",
	  "open a", "prepared t", "callback confirm a refused", "no_step", "prepared t" },
	{ "nobody cancels before the decision",
	  "open a", "prepared t", "callback cancel a ok", "no_step", "prepared t" },
	{ "nobody refuses a cancel before the decision",
	  "open a", "prepared t", "callback cancel a refused", "no_step", "prepared t" },
	{ "a person knows that the sender committed",
	  "message a", "prepared . ?", "person check ? ok", "commit try(a) accepted",
	  "confirming .T ?" },
	{ "a person knows that the sender did not commit",
	  "message a", "prepared .", "person check ? refused", "commit finish accepted",
	  "cancelled u" },
	/* trying */
	{ "a callback that is the last ok decides confirm; the confirm waits for our own call",
	  "tcc a b", "trying t.T", "callback try b ok", "commit confirm(a) accepted",
	  "confirming tCtT" },
	{ "a callback may refuse, and the cancel waits for our own call",
	  "saga a b", "trying t.T", "callback try b refused", "commit cancel(a) accepted",
	  "cancelling tXrT" },
	{ "the same callback again is no conflict",
	  "saga a b", "trying t.T", "callback try a ok", "already", "trying t.T" },
	{ "another outcome than the one that is logged comes too late",
	  "saga a b", "trying t.T", "callback try a refused", "no_step", "trying t.T" },
	{ "a step that was not called yet cannot call back",
	  "saga a b<a", "trying .T.", "callback try b ok", "no_step", "trying .T." },
	{ "before the start nobody can call back",
	  "saga a", "trying . start=2000", "callback try a ok", "no_step", "trying ." },
	{ "a callback of a step that does not exist is wrong",
	  "saga a", "trying .T", "callback try p ok", "no_step", "trying .T" },
	{ "a callback that settles nothing changes nothing",
	  "saga a", "trying .T", "callback try a unknown", "already", "trying .T" },
	{ "nobody confirms while trying",
	  "tcc a b", "trying t.T", "callback confirm a ok", "no_step", "trying t.T" },
	{ "nobody refuses a confirm while trying",
	  "tcc a b", "trying t.T", "callback confirm a refused", "no_step", "trying t.T" },
	{ "nobody cancels while trying",
	  "tcc a b", "trying t.T", "person cancel a ok", "no_step", "trying t.T" },
	{ "nobody refuses a cancel while trying",
	  "tcc a b", "trying t.T", "person cancel a refused", "no_step", "trying t.T" },
	{ "what is no message has no check that is ok",
	  "tcc a b", "trying t.T", "callback check ? ok", "no_step", "trying t.T" },
	{ "what is no message has no check that is refused",
	  "tcc a b", "trying t.T", "callback check ? refused", "no_step", "trying t.T" },
	/* confirming */
	{ "a callback of a try that is logged is no conflict after the decision",
	  "tcc a", "confirming tC", "callback try a ok", "already", "confirming tC" },
	{ "a try does not refuse after the decision",
	  "tcc a", "confirming tC", "callback try a refused", "decided", "confirming tC" },
	{ "not even while our own try is open",
	  "tcc a", "confirming tT", "callback try a refused", "decided", "confirming tT" },
	{ "a callback settles a retriable step",
	  "saga a:r b:r<a", "confirming .T.", "callback try a ok", "commit try(b) accepted",
	  "confirming tT.T" },
	{ "a retriable step cannot refuse, not even in a callback",
	  "saga a:r", "confirming .", "callback try a refused", "commit accepted", "confirming ." },
	{ "a retriable step whose turn has not come cannot call back",
	  "saga a:r b:r<a", "confirming .T.", "callback try b ok", "no_step", "confirming .T." },
	{ "a callback settles a confirm",
	  "tcc a b<a", "confirming tCt", "callback confirm a ok", "commit confirm(b) accepted",
	  "confirming cCtC" },
	{ "a person settles a confirm, and that is the end",
	  "tcc a", "confirming tC", "person confirm a ok", "commit finish accepted",
	  "confirmed c" },
	{ "a confirm whose turn has not come cannot call back",
	  "tcc a b<a", "confirming tCt", "callback confirm b ok", "no_step", "confirming tCt" },
	{ "a refused confirm counts like no answer",
	  "tcc a", "confirming t", "callback confirm a refused", "commit accepted",
	  "confirming t" },
	{ "nobody cancels once confirm is decided",
	  "tcc a", "confirming tC", "person cancel a ok", "no_step", "confirming tC" },
	{ "nobody refuses a cancel once confirm is decided",
	  "tcc a", "confirming tC", "callback cancel a refused", "no_step", "confirming tC" },
	{ "a check comes too late once its sender said confirm",
	  "message a", "confirming .T", "callback check ? ok", "decided", "confirming .T" },
	{ "and cannot be refused any more",
	  "message a", "confirming .T", "callback check ? refused", "decided", "confirming .T" },
	/* cancelling */
	{ "a try that is ok after the cancel was decided learns that",
	  "saga a", "cancelling .T", "callback try a ok", "decided", "cancelling .T" },
	{ "a try that is refused after the cancel was decided learns that",
	  "saga a", "cancelling .T", "callback try a refused", "decided", "cancelling .T" },
	{ "the refusal that decided may be said again",
	  "saga a", "cancelling rX", "callback try a refused", "already", "cancelling rX" },
	{ "nobody confirms once cancel is decided",
	  "tcc a", "cancelling tX", "person confirm a ok", "no_step", "cancelling tX" },
	{ "nobody refuses a confirm once cancel is decided",
	  "tcc a", "cancelling tX", "callback confirm a refused", "no_step", "cancelling tX" },
	{ "a callback settles a cancel",
	  "tcc a b<a", "cancelling ttX", "callback cancel b ok", "commit cancel(a) accepted",
	  "cancelling tXxX" },
	{ "the same callback of a cancel again is no conflict",
	  "tcc a b<a", "cancelling tXx", "callback cancel b ok", "already", "cancelling tXx" },
	{ "a refused cancel counts like no answer",
	  "tcc a", "cancelling t", "callback cancel a refused", "commit accepted", "cancelling t" },
	{ "a cancel that waits for an open try cannot call back",
	  "tcc a", "cancelling tT", "callback cancel a ok", "no_step", "cancelling tT" },
	{ "what is cancelled step by step was no message: no check of it is ok",
	  "tcc a", "cancelling tX", "callback check ? ok", "no_step", "cancelling tX" },
	{ "and none is refused",
	  "tcc a", "cancelling tX", "callback check ? refused", "no_step", "cancelling tX" },
	/* confirmed */
	{ "the last ok may be said again after the end",
	  "saga a", "confirmed t", "callback try a ok", "finish already", "confirmed t" },
	{ "nobody refuses after the end",
	  "saga a", "confirmed t", "callback try a refused", "finish decided", "confirmed t" },
	{ "the last confirm may be said again after the end",
	  "tcc a", "confirmed c", "callback confirm a ok", "finish already", "confirmed c" },
	{ "nobody refuses a confirm after the end",
	  "tcc a", "confirmed c", "callback confirm a refused", "finish ended", "confirmed c" },
	{ "nobody cancels what is confirmed",
	  "tcc a", "confirmed c", "person cancel a ok", "finish ended", "confirmed c" },
	{ "nobody refuses a cancel of what is confirmed",
	  "tcc a", "confirmed c", "callback cancel a refused", "finish ended", "confirmed c" },
	{ "a check after the confirm is late",
	  "message a", "confirmed t", "callback check ? ok", "finish decided", "confirmed t" },
	{ "a refused check after the confirm is late",
	  "message a", "confirmed t", "callback check ? refused", "finish decided", "confirmed t" },
	/* cancelled */
	{ "a try after the cancel is too late",
	  "saga a", "cancelled x", "callback try a ok", "finish decided", "cancelled x" },
	{ "a refusal after the cancel is too late",
	  "saga a", "cancelled x", "callback try a refused", "finish decided", "cancelled x" },
	{ "nobody confirms what is cancelled",
	  "tcc a", "cancelled x", "person confirm a ok", "finish ended", "cancelled x" },
	{ "nobody refuses a confirm of what is cancelled",
	  "tcc a", "cancelled x", "callback confirm a refused", "finish ended", "cancelled x" },
	{ "the last cancel may be said again after the end",
	  "tcc a", "cancelled x", "callback cancel a ok", "finish already", "cancelled x" },
	{ "nobody refuses a cancel after the end",
	  "tcc a", "cancelled x", "callback cancel a refused", "finish ended", "cancelled x" },
	{ "a check after the cancel is late",
	  "message a", "cancelled u", "callback check ? ok", "finish decided", "cancelled u" },
	{ "a refused check after the cancel is late",
	  "message a", "cancelled u", "callback check ? refused", "finish decided", "cancelled u" },
	/* abandoned */
	{ "a try after a person ended it is late",
	  "tcc a", "abandoned .", "callback try a ok", "finish ended", "abandoned ." },
	{ "a refusal after a person ended it is late",
	  "tcc a", "abandoned .", "callback try a refused", "finish ended", "abandoned ." },
	{ "a confirm after a person ended it is late",
	  "tcc a", "abandoned t", "callback confirm a ok", "finish ended", "abandoned t" },
	{ "a refused confirm after a person ended it is late",
	  "tcc a", "abandoned t", "callback confirm a refused", "finish ended", "abandoned t" },
	{ "a cancel after a person ended it is late",
	  "tcc a", "abandoned t", "callback cancel a ok", "finish ended", "abandoned t" },
	{ "a refused cancel after a person ended it is late",
	  "tcc a", "abandoned t", "callback cancel a refused", "finish ended", "abandoned t" },
	{ "a check after a person ended it is late",
	  "message a", "abandoned .", "callback check ? ok", "finish ended", "abandoned ." },
	{ "a refused check after a person ended it is late",
	  "message a", "abandoned .", "callback check ? refused", "finish ended", "abandoned ." },
};

/* An answer to a call that we cannot have open in this phase: nothing happens. */
static const struct {
	const char *why, *plan, *before;
	enum op     op;
} ignored[] = {
	{ "no confirm before the decision", "open a:u b", "prepared t.T", OP_CONFIRM },
	{ "no cancel before the decision", "open a:u b", "prepared t.T", OP_CANCEL },
	{ "no confirm while trying", "tcc a b", "trying t.T", OP_CONFIRM },
	{ "no cancel while trying", "tcc a b", "trying t.T", OP_CANCEL },
	{ "no check of what is no message", "tcc a b", "trying t.T", OP_CHECK },
	{ "no cancel once confirm is decided", "tcc a b", "confirming tCc", OP_CANCEL },
	{ "no check once confirm is decided", "tcc a b", "confirming tCc", OP_CHECK },
	{ "no confirm once cancel is decided", "tcc a b", "cancelling tXx", OP_CONFIRM },
	{ "no check once cancel is decided", "tcc a b", "cancelling tXx", OP_CHECK },
	{ "no try after the confirm", "tcc a b", "confirmed cc", OP_TRY },
	{ "no confirm after the confirm", "tcc a b", "confirmed cc", OP_CONFIRM },
	{ "no cancel after the confirm", "tcc a b", "confirmed cc", OP_CANCEL },
	{ "no check after the confirm", "message a b", "confirmed tt", OP_CHECK },
	{ "no try after the cancel", "tcc a b", "cancelled ux", OP_TRY },
	{ "no confirm after the cancel", "tcc a b", "cancelled ux", OP_CONFIRM },
	{ "no cancel after the cancel", "tcc a b", "cancelled ux", OP_CANCEL },
	{ "no check after the cancel", "message a b", "cancelled uu", OP_CHECK },
	{ "no try after a person ended it", "tcc a b", "abandoned t.", OP_TRY },
	{ "no confirm after a person ended it", "tcc a b", "abandoned t.", OP_CONFIRM },
	{ "no cancel after a person ended it", "tcc a b", "abandoned t.", OP_CANCEL },
	{ "no check after a person ended it", "message a b", "abandoned ..", OP_CHECK },
};

/* What was played: events, answers of calls, reports. */
struct seen {
	bool event[PHASE_COUNT][EVENT_COUNT];
	bool answer[PHASE_COUNT][OP_COUNT][OUTCOME_COUNT];
	bool report[PHASE_COUNT][OP_COUNT][OUTCOME_COUNT];
};

static void note(struct seen *seen, enum phase phase, const struct event *ev)
{
	seen->event[phase][ev->kind] = true;
	if (ev->kind != EV_ANSWER)
		return;
	if (ev->u.answer.from == FROM_CALL)
		seen->answer[phase][ev->u.answer.op][ev->u.answer.outcome] = true;
	else
		seen->report[phase][ev->u.answer.op][ev->u.answer.outcome] = true;
}

static void play_rule(const struct rule *r, struct seen *seen)
{
	struct bench b;
	char         after[128];
	uint16_t     step;

	words_plan(&b, r->plan);
	if (plan_check(&b.plan, &step) != NULL)
		words_fail(plan_check(&b.plan, &step), r->plan);
	words_state(&b, r->before);
	words_play(&b, r->event);
	words_of_state(&b.up.next, after);
	note(seen, b.t.phase, &b.ev);
	if (!ok(strcmp(b.text, r->does) == 0 && strcmp(after, r->after) == 0, "%s", r->why))
		printf("# %s, %s: does \"%s\" and is \"%s\"\n", r->before, r->event, b.text, after);
}

static void play_rules(const struct rule *rules, size_t n, struct seen *seen)
{
	for (size_t i = 0; i < n; i++)
		play_rule(&rules[i], seen);
}

/* Every outcome, for every step. */
static bool is_ignored(struct bench *b, enum op op, struct seen *seen)
{
	for (int outcome = 0; outcome < OUTCOME_COUNT; outcome++)
		for (uint16_t i = 0; i <= b->t.step_count; i++) {
			b->ev = (struct event){ .kind = EV_ANSWER, .now = b->now };
			b->ev.u.answer.op = op;
			b->ev.u.answer.step = op == OP_CHECK ? (uint16_t)TXN_CHECK : i;
			b->ev.u.answer.outcome = (enum outcome)outcome;
			txn_step(&b->t, &b->ev, &b->up);
			note(seen, b->t.phase, &b->ev);
			if ((b->up.flags & ~(unsigned)DO_FINISH) != 0 ||
			    b->up.next.phase != b->t.phase ||
			    memcmp(b->steps, b->next_steps, sizeof *b->steps * b->t.step_count))
				return false;
		}
	return true;
}

static void play_ignored(struct seen *seen)
{
	for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++) {
		struct bench b;

		words_plan(&b, ignored[i].plan);
		words_state(&b, ignored[i].before);
		ok(is_ignored(&b, ignored[i].op, seen), "%s", ignored[i].why);
	}
}

static void count_answers(const struct seen *seen, int phase)
{
	for (int op = 0; op < OP_COUNT; op++) {
		int answers_seen = 0;

		for (int o = 0; o < OUTCOME_COUNT; o++)
			answers_seen += seen->answer[phase][op][o];
		ok(answers_seen == OUTCOME_COUNT && seen->report[phase][op][OUTCOME_OK] &&
		   seen->report[phase][op][OUTCOME_REFUSED],
		   "%s: every outcome of %s has a row", phase_name((enum phase)phase),
		   op_name((enum op)op));
	}
}

static void count_all(const struct seen *seen)
{
	for (int phase = 0; phase < PHASE_COUNT; phase++) {
		for (int kind = 0; kind < EVENT_COUNT; kind++)
			ok(seen->event[phase][kind], "%s: %s has a row",
			   phase_name((enum phase)phase), event_name((enum event_kind)kind));
		count_answers(seen, phase);
	}
}

int main(void)
{
	static struct seen seen;

	play_rules(events, sizeof events / sizeof events[0], &seen);
	play_rules(answers, sizeof answers / sizeof answers[0], &seen);
	play_rules(reports, sizeof reports / sizeof reports[0], &seen);
	play_ignored(&seen);
	count_all(&seen);
	return tap_done();
}
