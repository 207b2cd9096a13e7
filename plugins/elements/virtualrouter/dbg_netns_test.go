//go:build netns

package virtualrouter

import ("testing";"os/exec";"syscall";"fmt";"time")

func TestDbg(t *testing.T) {
	x := newLAN(t, intentOf(t, "serve"), "web")
	d := x.start()
	run(t, "ip", "-n", x.guests, "addr", "add", "10.1.1.11/24", "dev", "eth0")
	fmt.Println(x.dig("@10.1.1.1","web-1"))
	x.t=t; x.lease("02:00:00:00:00:13", nil);x.lease("02:00:00:00:00:14", nil); fmt.Println("PRE",x.dig("@10.1.1.1","web-1"))
	d.Signal(syscall.SIGHUP)
	time.Sleep(300*time.Millisecond)
	fmt.Println(x.dig("@10.1.1.1","web-1"))
	out,_ := exec.Command("ip","netns","exec",x.guests,"dig","@10.1.1.1","web-1").CombinedOutput()
	fmt.Println(string(out))
	out,_ = exec.Command("ip","netns","exec",x.router,"ss","-lnup").CombinedOutput()
	fmt.Println(string(out), d.Signal(syscall.Signal(0)))
	for { select { case l,ok := <-x.log: fmt.Println(l,ok); if !ok {return}; continue; default: }; break }
}
