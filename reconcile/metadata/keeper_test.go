package metadata

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be keeper and worker.
func TestMain(m *testing.M) {
	if code, ok := Main(os.Args[1:]); ok {
		os.Exit(code)
	}
	os.Exit(m.Run())
}

// patience is how long something may take that happens at once on an idle machine.
const patience = 15 * time.Second

// A service is a keeper with its worker, on the loopback.
type service struct {
	*testing.T
	dir, state string // dir is that of the one side
	ports      [2]string
	cmd        *exec.Cmd
}

func newService(t *testing.T, guests string) *service {
	t.Helper()
	s := &service{T: t, dir: filepath.Join(t.TempDir(), "metadata", "web"), state: filepath.Join(t.TempDir(), "taken")}
	for _, dir := range []string{"userdata", "passwords"} {
		if err := os.MkdirAll(filepath.Join(s.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// An address that nobody else has; who connects to it does so from 127.0.0.1.
	own := fmt.Sprintf("127.%d.%d.%d", 1+os.Getpid()>>14&0x7f, os.Getpid()>>7&0x7f, 1+os.Getpid()&0x7f)
	s.ports = [2]string{own + ":18080", own + ":18081"} // others may have 80 and 8080 at every address
	s.write("passwords/acme.web-1.eth0", "first")
	s.write("guests", guests)
	s.serve(s.ports)
	s.start()
	return s
}

// serve writes where to listen.
func (s *service) serve(at [2]string) {
	s.Helper()
	s.write("server", fmt.Sprintf(`{"ns":"","metaData":[%q],"passwords":[%q]}`, at[0], at[1]))
}

func (s *service) start() {
	s.Helper()
	args := []string{Verb, "--dir", filepath.Dir(s.dir), "--state", s.state}
	if os.Geteuid() != 0 {
		args = append(args, "--same-user")
	}
	s.cmd = exec.Command("/proc/self/exe", args...)
	s.cmd.Stderr = os.Stderr
	if err := s.cmd.Start(); err != nil {
		s.Fatal(err)
	}
	cmd := s.cmd
	s.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// stop ends the keeper as the process driver does, and waits for the worker to be gone too.
func (s *service) stop() {
	s.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		s.Error(err)
	}
}

func (s *service) ask(port int, request string) string {
	r, err := http.NewRequestWithContext(s.Context(), http.MethodGet, "http://"+s.ports[port]+"/latest/meta-data/instance-id", nil)
	if err != nil {
		return err.Error()
	}
	r.Close = true
	r.Header.Set("DomU_Request", request)
	a, err := http.DefaultClient.Do(r)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = a.Body.Close() }()
	line, _ := bufio.NewReader(a.Body).ReadString('\n')
	return strings.TrimSuffix(line, "\n")
}

// until waits for an answer.
func (s *service) until(port int, request, want string) {
	s.Helper()
	got := ""
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if got = s.ask(port, request); got == want {
			return
		}
	}
	s.Fatalf("asked for %q: %q, want %q", request, got, want)
}

// write replaces a file of the keeper's, as the file driver does.
func (s *service) write(name, text string) {
	s.Helper()
	at := filepath.Join(s.dir, name)
	if err := errors.Join(os.WriteFile(at+".new", []byte(text), 0o600), os.Rename(at+".new", at)); err != nil {
		s.Fatal(err)
	}
}

func guest(id string) string {
	return fmt.Sprintf(`{"ip":"127.0.0.1","id":%q,"nic":"acme.web-1.eth0","keys":{"instance-id":%q},"has":["passwords"]}`, id, id)
}

// A password is told until it is taken, across reloads and restarts, and then the
// next one is.
func TestKeeper(t *testing.T) {
	s := newService(t, guest("a"))
	s.until(0, "", "a")
	s.until(1, "send_my_password", "first")
	s.write("guests", guest("b"))
	s.until(0, "", "b")
	s.until(1, "send_my_password", "first")
	s.until(1, "saved_password", "saved_password")
	s.until(1, "send_my_password", "saved_password")
	s.write("guests", strings.Replace(guest("b"), `{"instance-id":"b"}`, `{"instance-id":"reloaded"}`, 1))
	s.until(0, "", "reloaded")
	s.until(1, "send_my_password", "saved_password")
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if b, err := os.ReadFile(s.state); err == nil && strings.Contains(string(b), `"b"`) {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nobody remembers that the password was taken")
		}
	}
	s.stop()
	s.start()
	s.until(1, "send_my_password", "saved_password")
	s.write("guests", "{")
	s.write("passwords/acme.web-1.eth0", "second") // read with a broken file beside it: nothing changes
	s.until(0, "", "reloaded")
	s.write("guests", guest("b"))
	s.until(0, "", "b")
	s.until(1, "send_my_password", "second")
	s.stop()
	if got := s.ask(0, ""); !strings.Contains(got, "refused") {
		t.Errorf("who was stopped answers: %s", got)
	}
}

// A side comes, moves and goes with its files; another one beside it is as it was.
func TestSides(t *testing.T) {
	s := newService(t, guest("a"))
	s.until(0, "", "a")
	other := *s
	other.dir = filepath.Join(filepath.Dir(s.dir), "vpc", "tier")
	other.ports = [2]string{strings.Replace(s.ports[0], ":18080", ":18090", 1), strings.Replace(s.ports[1], ":18081", ":18091", 1)}
	if err := os.MkdirAll(filepath.Join(other.dir, "passwords"), 0o755); err != nil {
		t.Fatal(err)
	}
	other.serve(other.ports)
	other.write("guests", guest("b"))
	other.write("passwords/acme.web-1.eth0", "other")
	other.until(0, "", "b")
	other.until(1, "send_my_password", "other")
	s.until(1, "send_my_password", "first")
	before := other.ports
	other.ports[0] = strings.Replace(before[0], ":18090", ":18100", 1)
	other.serve(other.ports)
	other.until(0, "", "b")
	other.ports[0] = before[0]
	other.refuses()
	if err := os.RemoveAll(filepath.Dir(other.dir)); err != nil {
		t.Fatal(err)
	}
	other.ports[0] = before[1]
	other.refuses()
	s.until(0, "", "a")
}

// refuses waits until nobody answers at the first port.
func (s *service) refuses() {
	s.Helper()
	got := ""
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if got = s.ask(0, ""); strings.Contains(got, "refused") {
			return
		}
	}
	s.Fatalf("it is answered: %s", got)
}

func TestKeeperRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"--state":           {"--dir", t.TempDir()},
		"not defined":       {"--nonsense"},
		"called by the kee": nil,
	} {
		args = append([]string{Verb}, args...)
		if len(args) == 1 {
			args = []string{workerVerb, "x"}
		}
		out, err := exec.Command("/proc/self/exe", args...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%q: %v, %s", args, err, out)
		}
	}
}
