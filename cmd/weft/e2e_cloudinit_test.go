//go:build e2e

package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// cloudInit is where .ci/deps puts Debian's cloud-init, with the Python that it needs.
const cloudInit = "/var/cache/weft/cloud-init"

// machine is a shell script that makes a machine of a guest's own below /run/machine,
// and has cloud-init start it: all that cloud-init changes is in there. What is left
// out of its configuration needs hardware.
const machine = `set -eu
source=$1 seed=$2
new=/run/machine
mkdir -p $new
mount -t tmpfs -o mode=0755 tmpfs $new
cd $new
mkdir -p usr proc sys dev run tmp var/lib/dhcp var/log etc/ssh root home cloud
for l in bin sbin lib lib64; do ln -s usr/$l $l; done
for d in usr proc sys dev; do mount --rbind /$d $d; done
mount --bind ` + cloudInit + ` cloud
for f in passwd group shadow gshadow nsswitch.conf os-release resolv.conf hosts hostname login.defs pam.d security alternatives shells; do
  [ ! -e /etc/$f ] || cp -rL /etc/$f etc/
done
cp -r cloud/etc/cloud etc/
if [ -n "$seed" ]; then # the files of a drive that the kernel here cannot mount
  mkdir -p var/lib/cloud/seed
  cp -r $seed var/lib/cloud/seed/config_drive
fi
echo 'PasswordAuthentication no' >etc/ssh/sshd_config
cat >etc/cloud/cloud.cfg <<end
users: [default]
datasource_list: [$source]
network: {config: disabled}
cloud_init_modules: [write-files, users-groups, ssh]
cloud_config_modules: [set-passwords]
cloud_final_modules: []
ssh_deletekeys: false
ssh_genkeytypes: []
system_info:
  distro: debian
  default_user: {name: debian, lock_passwd: true, shell: /bin/sh}
  paths: {cloud_dir: /var/lib/cloud/, templates_dir: /etc/cloud/templates/}
end
start() {
  chroot $new /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONPATH=/cloud/usr/lib/python3/dist-packages \
    /usr/bin/python3 -m cloudinit.cmd.main "$@"
}
[ -z "$seed" ] || start init --local
start init
start modules --mode config
`

// taught: Debian's cloud-init finds the router and does what it is told: crawl, user
// data, SSH keys, and the password by CloudStack's protocol. A password that changed
// is told without a commit.
func (c *cloud) taught() {
	if !hasCloudInit() {
		c.Skip("needs cloud-init: make deps-guest")
	}
	c.rewriteSecret("web-1.pw", "taught by the router")
	c.hears("acme/web-1", "10.1.1.1:8080", "taught by the router", "DomU_Request: send_my_password")
	c.started("acme/web-1", "CloudStack", "")
	c.isPassword("acme/web-1", "taught by the router")
	c.hears("acme/web-1", "10.1.1.1:8080", "saved_password", "DomU_Request: send_my_password")
}

// drives: a VM without a router has an image on its host, which nobody else may read,
// and cloud-init does what it says; it follows commits and secrets, and goes with the VM.
func (c *cloud) drives() {
	const image = "/run/weft/files/configdrive/acme/box.iso"
	says := func(file, want string) {
		c.Helper()
		c.until(slow, fmt.Sprintf("%s of the drive says %q", file, want), func() string {
			out, err := c.try("host/kvm1", "bsdtar", "-xOf", image, file)
			if err == nil && out == want {
				return ""
			}
			return out
		})
	}
	says("cloudstack/password/vm_password.txt", "of the drive")
	if got := c.in("host/kvm1", "sh", "-c", "stat -c '%a %U' "+image+" && blkid -p -o value -s LABEL "+image); got != "600 root\nconfig-2\n" {
		c.Errorf("the image is %q", got)
	}
	c.rewriteSecret("box.pw", "of another drive")
	says("cloudstack/password/vm_password.txt", "of another drive")
	c.edit("cloud.yaml", "by a drive", "by a new drive")
	c.commit()
	says("openstack/latest/user_data", "#cloud-config\nwrite_files:\n  - {path: /etc/motd, content: \"taught by a new drive\\n\"}\n")
	c.until(soon, "no image is taken for changed", func() string { // the agent may just look
		if out, _ := c.try("host/kvm1", "weft", "drift"); !strings.Contains(out, "No drift") {
			return out
		}
		return ""
	})
	if hasCloudInit() {
		seed := filepath.Join(c.TempDir(), "seed")
		c.in("host/kvm1", "sh", "-c", "mkdir "+seed+" && bsdtar -C "+seed+" -xf "+image)
		c.started("acme/box", "ConfigDrive", seed)
	}
	c.in("host/kvm1", "sh", "-c", "echo x >>"+image) // another hand
	says("cloudstack/password/vm_password.txt", "of another drive")
	c.edit("cloud.yaml", "nics: [{network: flat}]", "nics: [{network: flat}]\n  state: Stopped")
	c.commit()
	c.until(slow, "the drive is gone", func() string {
		out, _ := c.try("host/kvm1", "sh", "-c", "ls -R /run/weft/files/configdrive")
		if strings.Contains(out, "iso") {
			return out
		}
		return ""
	})
}

// rewriteSecret gives a secret another text, as an editor does: another file in the
// place of the old one.
func (c *cloud) rewriteSecret(name, text string) {
	c.Helper()
	path := filepath.Join(c.secrets, name)
	if err := errors.Join(os.WriteFile(path+".new", []byte(text+"\n"), 0o600), os.Rename(path+".new", path)); err != nil {
		c.Fatal(err)
	}
}

// hasCloudInit reports whether machines can be started: with cloud-init and Debian's Python.
func hasCloudInit() bool {
	_, err := os.Stat(cloudInit + "/etc/cloud")
	_, python := os.Stat("/usr/bin/python3")
	return err == nil && python == nil
}

// started starts a machine in a VM's space by what the source says, which is in the
// directory seed or to be found, and looks at what became of it.
func (c *cloud) started(vm, source, seed string) {
	c.Helper()
	_, _ = c.try(vm, "sh", "-c", "umount -R /run/machine")
	if out, err := c.tryFor(3*time.Minute, vm, "sh", "-c", machine, "sh", source, seed); err != nil { // Python, three times
		c.Fatalf("cloud-init in %s: %v\n%s", vm, err, out)
	}
	account, name, _ := strings.Cut(vm, "/")
	for _, x := range []struct{ file, want string }{
		{"etc/motd", "of the new acme"},
		{"home/debian/.ssh/authorized_keys", " ann"},
		{"home/debian/.ssh/authorized_keys", " bob"},
		{"var/lib/cloud/data/instance-id", name + "." + account},
		{"var/lib/cloud/data/status.json", `"datasource": "DataSource` + source},
	} {
		if seed != "" && x.file == "etc/motd" {
			x.want = "by a new drive"
		}
		if got := c.in(vm, "cat", "/run/machine/"+x.file); !strings.Contains(got, x.want) {
			c.Errorf("cloud-init made %s %q, without %q", x.file, got, x.want)
		}
	}
}

// isPassword holds that the user of the machine in a VM's space has that password.
func (c *cloud) isPassword(vm, want string) {
	c.Helper()
	const script = `import crypt, sys
has = [l.split(":")[1] for l in open("/run/machine/etc/shadow") if l.startswith("debian:")][0]
sys.exit(crypt.crypt(sys.argv[1], has) != has)`
	if out, err := c.try(vm, "/usr/bin/python3", "-W", "ignore", "-c", script, want); err != nil {
		c.Errorf("the password is another: %s", out)
	}
}
