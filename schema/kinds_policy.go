package schema

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
)

// KindPlan in a policy's match means the plan of a change, which is no document.
const KindPlan = "Plan"

// Policy forbids, or warns of, what is valid and yet not wanted: a condition in CEL that objects, or the plan of a
// change, must meet. What a document of a built-in policy's name leaves out, it takes from that one.
type Policy struct {
	// Match says what the policy is about.
	Match PolicyMatch `yaml:"match"`
	// Action on what does not meet the expression: `Deny`: an error, the revision is not applied; `Warn`: a warning;
	// `Off`: nothing is judged.
	Action string `yaml:"action" weft:"enum=Deny|Warn|Off,default=Deny"`
	// Each is the path of a list in the object, such as `spec.firewall`: the expression is judged for each of its
	// items, `item`, and a finding is at the item's line.
	Each string `yaml:"each" weft:"format=fieldpath"`
	// Expression in CEL over `object` (with `old`, the object before the change, or null) or over `plan`: what must be
	// true.
	Expression string `yaml:"expression" weft:"format=text"`
	// Message of a finding: what is wrong, in one sentence.
	Message string `yaml:"message" weft:"format=sentence"`
	// MessageExpression in CEL makes the message from what was judged, instead of message.
	MessageExpression string `yaml:"messageExpression" weft:"format=text"`
	// Field is the path of the field that a finding points to, such as `spec.mtu`; with each it is below the item.
	Field string `yaml:"field" weft:"format=fieldpath"`
	// Why the policy is there and what would be right: the hint of a finding.
	Why string `yaml:"why" weft:"format=sentence"`
	// Exceptions are objects that need not meet the policy, each with somebody who answers for it and a last day.
	Exceptions []PolicyException `yaml:"exceptions" weft:"unique=object"`
}

// PolicyMatch says what a policy is about. An object must meet all that is given.
type PolicyMatch struct {
	// Kinds of the objects; or `Plan` alone: the policy judges the plan of a change.
	Kinds []string `yaml:"kinds" weft:"format=policykind"`
	// Accounts that own the objects; absent: all, and objects without account.
	Accounts []string `yaml:"accounts" weft:"format=name"`
	// Labels that the objects carry; the value `*` is any.
	Labels map[string]string `yaml:"labels" weft:"format=labelkey"`
}

// PolicyException excepts one object from a policy.
type PolicyException struct {
	At Pos32 `yaml:"-"`
	// Object as `kind/[account/]name`, such as `publicip/acme/legacy-vip`; `plan` where the policy judges plans.
	Object string `yaml:"object" weft:"required,format=object"`
	// Owner is who answers for the exception.
	Owner string `yaml:"owner" weft:"required,format=sentence"`
	// Until is the last day on which the exception holds.
	Until Date `yaml:"until" weft:"required"`
	// Reason of the exception.
	Reason string `yaml:"reason" weft:"format=sentence"`
}

// Date is a day as written, "2027-01-31"; the zero value means none. It is comparable.
type Date struct {
	Year  int
	Month time.Month
	Day   int
}

// DateOf returns the day of an instant in its own time zone.
func DateOf(t time.Time) Date {
	y, m, d := t.Date()
	return Date{y, m, d}
}

// ParseDate reads what Date.String writes.
func ParseDate(s string) (Date, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return Date{}, fmt.Errorf("%q is not a date such as 2027-01-31", s)
	}
	return DateOf(t), nil
}

// IsZero reports whether there is no day.
func (d Date) IsZero() bool { return d == Date{} }

// Before reports whether d is an earlier day than e.
func (d Date) Before(e Date) bool {
	return slices.Compare([]int{d.Year, int(d.Month), d.Day}, []int{e.Year, int(e.Month), e.Day}) < 0
}

// String is "2027-01-31"; empty for none.
func (d Date) String() string {
	if d.IsZero() {
		return ""
	}
	return fmt.Sprintf("%04d-%02d-%02d", d.Year, d.Month, d.Day)
}

func (c *checker) policy(s *Policy) {
	if slices.Contains(s.Match.Kinds, KindPlan) {
		if len(s.Match.Kinds) > 1 {
			c.errorf(at("match", "kinds"), "bad-match", "a policy over the plan is about nothing else").
				Hintf("make one policy of kinds [Plan] and another one of the rest")
		}
		for _, f := range []struct {
			given bool
			path  []any
		}{
			{s.Each != "", at("each")}, {s.Field != "", at("field")},
			{len(s.Match.Accounts) > 0, at("match", "accounts")}, {len(s.Match.Labels) > 0, at("match", "labels")},
		} {
			if f.given {
				c.errorf(f.path, "bad-match", "%s is for objects: a plan has none", f.path[len(f.path)-1])
			}
		}
	}
	if s.Message != "" && s.MessageExpression != "" {
		c.errorf(at("messageExpression"), "bad-message", "message and messageExpression are two ways to say one thing").
			Hintf("leave one of them out")
	}
	if len(s.Match.Kinds) > 0 && s.Expression == "" {
		if _, written := c.node(at("match", "kinds")); written {
			c.errorf(at("match", "kinds"), "required-field", "spec.expression is missing").
				Hintf("only what stands in for a built-in policy may leave it out, and match too")
		}
	}
	if s.Expression == "" {
		for name, text := range map[string]string{"each": s.Each, "field": s.Field, "messageExpression": s.MessageExpression} {
			if text != "" {
				c.errorf(at(name), "bad-match", "%s goes with an expression, and there is none", name).
					Hintf("what stands in for a built-in policy takes these together, or gives them together")
			}
		}
	}
	for i, x := range s.Exceptions {
		plan := slices.Contains(s.Match.Kinds, KindPlan)
		if x.Object != "" && len(s.Match.Kinds) > 0 && plan != (x.Object == "plan") {
			want := "kind/[account/]name of one"
			if plan {
				want = "plan"
			}
			c.errorf(at("exceptions", i, "object"), "bad-object", "%q is nothing that this policy judges", brief(x.Object)).Hintf("write %s", want)
		}
	}
}

// isPolicyKind reports whether policies may be about a kind: those of later releases too, so that a
// policy can be there before them.
func isPolicyKind(s string) bool {
	return s == KindPlan || s != KindPolicy && (slices.ContainsFunc(kinds, func(k kindOf) bool { return k.name == s }) || slices.Contains(laterKinds, s))
}

func policyKindHint(s string) string {
	words := slices.DeleteFunc(append(Kinds(), laterKinds...), func(k string) bool { return k == KindPolicy })
	return didYouMeanValue(s, append(words, KindPlan))
}

func isObject(s string) bool {
	if s == "plan" {
		return true
	}
	id, err := ParseID(s)
	return err == nil && isLabelValue(id.Name) && (id.Account == "" || isLabel(id.Account))
}

func objectHint(s string) string {
	if _, err := ParseID(s); err != nil && isText(s) {
		return strings.TrimPrefix(err.Error(), fmt.Sprintf("%q: ", s))
	}
	return ""
}

// isFieldPath keeps to names of the language, joined by dots.
func isFieldPath(s string) bool {
	return len(s) <= 200 && every(s, ".", func(part string) bool { return only(part, "", 63) })
}

// isSentence is one line of text that fits into a message.
func isSentence(s string) bool { return len(s) <= 1000 && isClean(s) }

func decodeDate(d *decoder, _ *field, n int32, v reflect.Value) {
	text, ok := d.scalar(n)
	if !ok {
		return
	}
	date, err := ParseDate(text)
	if err != nil {
		d.wrong(n, "bad-date", "%q is not a date", d.shown(text)).Hintf("write year, month and day, such as 2027-01-31")
		return
	}
	*v.Addr().Interface().(*Date) = date
}
