package amqp

import (
	"strings"
	"testing"
)

func TestReplyText(t *testing.T) {
	for _, tt := range []struct {
		err  *Error
		want string
	}{
		{Errorf(NotFound, "no queue '%s' in vhost '%s'", "q", "/"), "NOT_FOUND - no queue 'q' in vhost '/'"},
		{Errorf(Code(299), "odd"), "CODE_299 - odd"},
		{Errorf(SyntaxError, "%s", strings.Repeat("x", 240)), "SYNTAX_ERROR - " + strings.Repeat("x", 240)},
		{Errorf(SyntaxError, "%s", strings.Repeat("x", 241)), "SYNTAX_ERROR - " + strings.Repeat("x", 237) + "..."},
	} {
		if got := tt.err.ReplyText(); got != tt.want || len(got) > 255 {
			t.Errorf("ReplyText() = %q, want %q", got, tt.want)
		}
	}
}

func TestCodes(t *testing.T) {
	soft := map[Code]bool{311: true, 312: true, 313: true, 403: true, 404: true, 405: true, 406: true}
	for c, name := range codeNames {
		if c != ReplySuccess && c.Hard() == soft[c] {
			t.Errorf("%d: Hard() = %v", c, c.Hard())
		}
		if c.String() != name {
			t.Errorf("%d: String() = %s", c, c)
		}
	}
}
