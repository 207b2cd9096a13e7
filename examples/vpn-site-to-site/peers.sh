#!/bin/sh
# What the operators of two offices and two users do at their end, on the internet of the
# lab: sh peers.sh SECRETS. Nothing of weft is in it: strongSwan (swanctl) and wg.
set -eu
secrets=$1
run=/run/peers
mkdir -p $run

# far NAME N: a machine NAME on the internet, at 198.18.N.2
far() {
  ip netns add $1
  ip link add far$2 type veth peer name eth0 netns $1
  ip addr add 198.18.$2.1/30 dev far$2
  ip link set far$2 up
  ip -n $1 link set lo up
  ip -n $1 addr add 198.18.$2.2/30 dev eth0
  ip -n $1 link set eth0 up
  ip -n $1 route add default via 198.18.$2.1
  ip netns exec $1 ethtool -K eth0 tx off >/dev/null
  mkdir -p $run/$1
}

# swan NAME: strongSwan of NAME, told what stdin says. ESP in userspace, for a kernel without; berlin's is in the kernel
# where that has it: then nothing is wrapped in UDP.
swan() {
  libipsec=kernel-libipsec
  if [ $1 = berlin ] && ip -n $1 xfrm state add src 127.0.0.1 dst 127.0.0.2 proto esp spi 0x1000 mode tunnel \
    auth 'hmac(sha256)' 0x00 enc 'cbc(aes)' 0x00112233445566778899aabbccddeeff 2>/dev/null; then
    ip -n $1 xfrm state flush
    libipsec=
  fi
  cat >$run/$1/swanctl.conf
  cat >$run/$1/strongswan.conf <<EOF
charon-systemd {
  load = random nonce openssl pem pkcs1 pkcs8 x509 pubkey revocation constraints kdf hmac gcm $libipsec kernel-netlink socket-default vici eap-identity eap-mschapv2
  retransmit_tries = 3
  plugins {
    vici {
      socket = unix://$run/$1/vici
    }
  }
  filelog {
    stderr {
      default = 1
    }
  }
}
swanctl {
  load = pem pkcs1 pkcs8 x509 openssl random
}
EOF
  STRONGSWAN_CONF=$run/$1/strongswan.conf setsid ip netns exec $1 charon-systemd >$run/$1/log 2>&1 </dev/null &
  until [ -S $run/$1/vici ]; do
    kill -0 $!
    sleep 0.05
  done
  STRONGSWAN_CONF=$run/$1/strongswan.conf SWANCTL_DIR=$run/$1 ip netns exec $1 swanctl --load-all --uri unix://$run/$1/vici
}

# office NAME N IKE NETWORK...: the gateway of an office with these networks, which answers at .1
# of each.
office() {
  name=$1 n=$2 version=$3
  shift 3
  far $name $n
  for net; do ip -n $name addr add ${net%.0/24}.1/24 dev lo; done
  swan $name <<EOF
connections {
  acme {
    version = $version
    local_addrs = 198.18.$n.2
    remote_addrs = 203.0.113.20
    proposals = aes256-sha256-modp2048
    local {
      auth = psk
    }
    remote {
      auth = psk
    }
    children {
      net {
        local_ts = $(echo $* | tr ' ' ,)
        remote_ts = 10.1.1.0/24
        esp_proposals = aes256-sha256-modp2048
      }
    }
  }
}
secrets {
  ike-acme {
    secret = "$(cat $secrets/$name.psk)"
  }
}
EOF
}

office berlin 1 2 10.50.0.0/24 10.50.1.0/24
office paris 2 1 10.60.0.0/24

# ann has WireGuard: what she is given is acme's public key and her address.
far ann 3
setsid ip netns exec ann wireguard-go -f ann >$run/ann/log 2>&1 </dev/null &
until [ -S /var/run/wireguard/ann.sock ]; do
  kill -0 $!
  sleep 0.05
done
cat >$run/ann/wg.conf <<EOF
[Interface]
PrivateKey = SAaWEyAlG4RlkNMO/Px06ItI83TKGjSFUfaQt1FdrkE=

[Peer]
PublicKey = GG7drpp/b1Ns0SQ44+WtRcsE3ddvMRHuvgWNyGDJhFs=
Endpoint = 203.0.113.20:51820
AllowedIPs = 10.1.1.0/24
PersistentKeepalive = 25
EOF
ip netns exec ann wg setconf ann $run/ann/wg.conf
ip -n ann addr add 10.254.0.2/32 dev ann
ip -n ann link set ann up mtu 1420
ip -n ann route add 10.1.1.0/24 dev ann

# bob has IKEv2, with a password: he is given the certificate's issuer.
far bob 4
mkdir -p $run/bob/x509ca
sed -n '/BEGIN CERT/,/END CERT/s/^ *//p' "$(dirname "$0")/cloud.yaml" >$run/bob/x509ca/acme.pem
swan bob <<EOF
connections {
  acme {
    version = 2
    remote_addrs = 203.0.113.20
    vips = 0.0.0.0
    local {
      auth = eap-mschapv2
      eap_id = bob
    }
    remote {
      auth = pubkey
      id = vpn.acme.example
    }
    children {
      net {
        remote_ts = 10.1.1.0/24
      }
    }
  }
}
secrets {
  eap-bob {
    id = bob
    secret = "$(sed 's/"/\\"/g' $secrets/bob.pw)"
  }
}
EOF
tries=0
until STRONGSWAN_CONF=$run/bob/strongswan.conf ip netns exec bob swanctl --initiate --child net --timeout 20 --uri unix://$run/bob/vici; do
  tries=$((tries + 1))
  [ $tries -lt 6 ]
  sleep 1
done
