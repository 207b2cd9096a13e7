package proc

import (
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Restart pauses of a Service: the first, and the bound that doubling reaches. A run longer than steady starts anew.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 10 * time.Second
	steady     = 30 * time.Second
)

// A Service keeps one command running until it is stopped, whatever the exit status.
type Service struct {
	table   *Table
	argv    []string
	env     []string
	log     string
	changed func()

	mu     sync.Mutex
	state  ServiceState
	run    *Process
	cancel chan struct{} // closed by Stop; nil while stopped
	ended  chan struct{} // closed when the loop of this start is over
}

// ServiceState is what is known of a Service.
type ServiceState struct {
	Name     string    `json:"name"`
	Running  bool      `json:"running"`
	Pid      int       `json:"pid,omitempty"`
	Since    time.Time `json:"since"`              // of the last change of Running
	Restarts int       `json:"restarts,omitempty"` // since it was last started by Start
	LastExit string    `json:"lastExit,omitempty"`
}

// NewService describes a service, stopped. Its output is appended to the file log; changed is called, without locks
// held, whenever its state has changed.
func (t *Table) NewService(name string, argv, env []string, log string, changed func()) *Service {
	return &Service{table: t, argv: argv, env: env, log: log, changed: changed, state: ServiceState{Name: name, Since: time.Now()}}
}

// State returns what is known now.
func (s *Service) State() ServiceState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Start begins to keep the command running; it does nothing when that is so already. The first start is tried before it
// returns, and its error ends the attempt.
func (s *Service) Start() error {
	s.mu.Lock()
	if s.cancel != nil {
		s.mu.Unlock()
		return nil
	}
	p, err := s.launch()
	if err != nil {
		s.mu.Unlock()
		return err
	}
	s.cancel, s.ended = make(chan struct{}), make(chan struct{})
	s.state.Restarts, s.state.LastExit = 0, ""
	go s.keep(p, s.cancel, s.ended)
	s.mu.Unlock()
	s.changed()
	return nil
}

// Stop ends the command with sig, and with SIGKILL if it takes longer than grace. It returns when the process is gone.
func (s *Service) Stop(sig syscall.Signal, grace time.Duration) {
	s.mu.Lock()
	if s.cancel == nil {
		s.mu.Unlock()
		return
	}
	close(s.cancel)
	s.cancel = nil
	p, ended := s.run, s.ended
	s.mu.Unlock()
	if p != nil {
		p.Signal(sig)
		timer := time.AfterFunc(grace, func() { p.Signal(syscall.SIGKILL) })
		defer timer.Stop()
	}
	<-ended
	s.changed()
}

// launch starts the command once; s.mu is held.
func (s *Service) launch() (*Process, error) {
	out, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()
	cmd := exec.Command(s.argv[0], s.argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = s.env, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	p, err := s.table.Start(cmd)
	if err != nil {
		return nil, err
	}
	s.run = p
	s.state.Running, s.state.Pid, s.state.Since = true, p.Pid, time.Now()
	return p, nil
}

func (s *Service) keep(p *Process, cancel, ended chan struct{}) {
	defer close(ended)
	pause := firstPause
	for {
		begin := time.Now()
		if p != nil {
			s.note(p.Wait())
		}
		if time.Since(begin) > steady {
			pause = firstPause
		}
		select {
		case <-cancel:
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
		s.mu.Lock()
		select {
		case <-cancel:
			s.mu.Unlock()
			return
		default:
		}
		var err error
		p, err = s.launch()
		if err != nil {
			s.state.LastExit = err.Error()
		}
		s.state.Restarts++
		s.mu.Unlock()
		s.changed()
	}
}

// note records that the command ended.
func (s *Service) note(err error) {
	s.mu.Lock()
	s.run = nil
	s.state.Running, s.state.Pid, s.state.Since, s.state.LastExit = false, 0, time.Now(), "exit status 0"
	if err != nil {
		s.state.LastExit = err.Error()
	}
	s.mu.Unlock()
	s.changed()
}

// Signal sends sig to the command if it runs.
func (s *Service) Signal(sig syscall.Signal) {
	s.mu.Lock()
	p := s.run
	s.mu.Unlock()
	if p != nil {
		p.Signal(sig)
	}
}
