#!/bin/sh
# Makes the certificates of this folder anew; the keys of the authorities are thrown away.
set -e
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 36500 -subj "/CN=sessiondb test $1" \
        -addext "keyUsage=critical,keyCertSign" -keyout "$work/$1.key" -out "$work/$1.crt"
}

server() { # FILE AUTHORITY NAME
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$3" -keyout "$work/key" -out "$work/csr"
    printf 'basicConstraints=CA:FALSE\nsubjectAltName=DNS:%s\nextendedKeyUsage=serverAuth\n' "$3" > "$work/extensions"
    openssl x509 -req -in "$work/csr" -CA "$work/$2.crt" -CAkey "$work/$2.key" -days 36500 -extfile "$work/extensions" \
        -out "$work/crt"
    cat "$work/key" "$work/crt" > "$1"
}

authority authority
authority stranger
server localhost.pem authority localhost
server other_name.pem authority db.example
server stranger.pem stranger localhost
cp "$work/authority.crt" authority.crt
