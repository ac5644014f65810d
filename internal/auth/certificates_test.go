package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creditstream/creditstream/internal/auth"
)

// An authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := new(authority)
	a.pem, _, a.cert, a.key = certificate(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: noon.AddDate(1, 0, 0),
	}, nil)
	return a
}

// issue returns a certificate for this machine and for clients, and its key.
func (a *authority) issue(t *testing.T, name string, until time.Time) (cert, key string) {
	t.Helper()
	cert, key, _, _ = certificate(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a)
	return cert, key
}

func certificate(t *testing.T, c *x509.Certificate, by *authority) (certPEM, keyPEM string, cert *x509.Certificate, key *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore = big.NewInt(noon.UnixNano()), noon.AddDate(-1, 0, 0)
	parent, signer := c, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	keyPEM = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	return certPEM, keyPEM, cert, key
}

// A secure station is a gate with certificates, behind a listener.
type secure struct {
	*station

	opt  auth.Options
	addr string
}

func newSecure(t *testing.T, cert, key, clientCA string) *secure {
	t.Helper()
	dir := t.TempDir()
	s := &secure{station: &station{T: t, clock: clock{at: noon}}}
	s.opt = auth.Options{
		Tokens: filepath.Join(dir, "tokens"), Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"), Rate: 1, Now: s.now,
	}
	_, line := newToken(t, "a", "read")
	write(t, s.opt.Tokens, line)
	write(t, s.opt.Cert, cert)
	write(t, s.opt.Key, key)
	if clientCA != "" {
		s.opt.ClientCA = filepath.Join(dir, "ca")
		write(t, s.opt.ClientCA, clientCA)
	}
	var err error
	if s.Gate, err = auth.Load(s.opt); err != nil {
		t.Fatal(err)
	}
	config := s.TLS()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	s.addr = listener.Addr().String()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				c := tls.Server(conn, config)
				if c.Handshake() == nil {
					_, _ = c.Write([]byte("x"))
				}
			}()
		}
	}()
	return s
}

// dial returns who answers, once the other side has let the client in.
func (s *secure) dial(roots *authority, client ...tls.Certificate) (name string, err error) {
	s.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(roots.cert)
	return s.dialWith(&tls.Config{RootCAs: pool, Certificates: client, Time: s.now})
}

func (s *secure) dialWith(config *tls.Config) (name string, err error) {
	conn, err := tls.Dial("tcp", s.addr, config)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return "", err
	}
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

// client returns a certificate to show.
func (a *authority) client(t *testing.T, until time.Time) tls.Certificate {
	t.Helper()
	cert, key := a.issue(t, "client", until)
	c, err := tls.X509KeyPair([]byte(cert), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTLSIsRenewedWhileItRuns(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ca")
	cert, key := ca.issue(t, "first", noon.AddDate(0, 1, 0))
	s := newSecure(t, cert, key, "")
	if name, err := s.dial(ca); name != "first" {
		t.Errorf("got %q, %v", name, err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	if _, err := s.dialWith(&tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10, Time: s.now}); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	cert, key = ca.issue(t, "second", noon.AddDate(0, 1, 0))
	write(t, s.opt.Cert, cert) // and not its key yet
	s.look()
	if name, err := s.dial(ca); name != "first" {
		t.Errorf("a certificate without its key: got %q, %v", name, err)
	}
	write(t, s.opt.Key, key)
	s.look()
	if name, err := s.dial(ca); name != "second" {
		t.Errorf("got %q, %v", name, err)
	}
}

func TestClientsNeedACertificate(t *testing.T) {
	t.Parallel()
	ca, clients, strangers := newAuthority(t, "ca"), newAuthority(t, "clients"), newAuthority(t, "strangers")
	cert, key := ca.issue(t, "server", noon.AddDate(0, 1, 0))
	s := newSecure(t, cert, key, clients.pem)
	good := clients.client(t, noon.AddDate(0, 1, 0))
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	remembers := &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{good}, ClientSessionCache: tls.NewLRUClientSessionCache(1), Time: s.now}
	if name, err := s.dialWith(remembers); name != "server" {
		t.Errorf("got %q, %v", name, err)
	}
	if name, err := s.dial(ca, good); name != "server" {
		t.Errorf("got %q, %v", name, err)
	}
	if _, err := s.dial(ca); err == nil {
		t.Error("a client without a certificate is let in")
	}
	stranger := strangers.client(t, noon.AddDate(0, 1, 0))
	if _, err := s.dial(ca, stranger); err == nil {
		t.Error("the certificate of a stranger is taken")
	}
	late := clients.client(t, noon.Add(-time.Hour))
	if _, err := s.dial(ca, late); err == nil {
		t.Error("a certificate that has expired is taken")
	}
	write(t, s.opt.ClientCA, strangers.pem)
	s.look()
	if _, err := s.dial(ca, good); err == nil {
		t.Error("a client of an authority that was taken away is let in")
	}
	if _, err := s.dialWith(remembers); err == nil {
		t.Error("a session outlives the authority that it was allowed by")
	}
}

func TestProblemsOfCertificates(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ca")
	cert, key := ca.issue(t, "server", noon.AddDate(0, 1, 0))
	_, otherKey := ca.issue(t, "server", noon.AddDate(0, 1, 0))
	expired, expiredKey := ca.issue(t, "server", noon.Add(-time.Hour))
	for name, tc := range map[string]struct{ cert, key, ca, want string }{
		"another key":    {cert, otherKey, "", "private key does not match public key: expected a certificate and its key, both in PEM"},
		"no certificate": {"x", key, "", "expected a certificate and its key, both in PEM"},
		"expired":        {expired, expiredKey, "", "the certificate has expired at 2026-05-06 11:00:00Z: renew it"},
		"no authority":   {cert, key, "x", "holds no certificate in PEM"},
	} {
		dir := t.TempDir()
		opt := auth.Options{
			Tokens: filepath.Join(dir, "tokens"), Cert: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"), Rate: 1,
			Now: func() time.Time { return noon },
		}
		_, line := newToken(t, "a", "read")
		write(t, opt.Tokens, line)
		write(t, opt.Cert, tc.cert)
		write(t, opt.Key, tc.key)
		if tc.ca != "" {
			opt.ClientCA = filepath.Join(dir, "ca")
			write(t, opt.ClientCA, tc.ca)
		}
		if _, err := auth.Load(opt); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
