package auth

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// TLS returns how to talk to clients, or nil without certificates. Connections that are
// made after a change of the files use the new ones.
func (g *Gate) TLS() *tls.Config {
	if g.opt.Cert == "" {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return g.tls.Load(), nil
		},
	}
}

func (g *Gate) takeCertificates(contents [][]byte) error {
	cert, err := tls.X509KeyPair(contents[0], contents[1])
	if err != nil {
		return fmt.Errorf("%s and %s: %w: expected a certificate and its key, both in PEM", g.opt.Cert, g.opt.Key, err)
	}
	if now := g.opt.Now(); now.After(cert.Leaf.NotAfter) {
		return fmt.Errorf("%s: the certificate has expired at %s: renew it", g.opt.Cert, cert.Leaf.NotAfter.UTC().Format("2006-01-02 15:04:05Z"))
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{cert}, Time: g.opt.Now}
	if g.opt.ClientCA != "" {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		if !config.ClientCAs.AppendCertsFromPEM(contents[2]) {
			return fmt.Errorf("%s: holds no certificate in PEM: expected those of the authorities that sign clients' certificates", g.opt.ClientCA)
		}
	}
	g.tls.Store(config)
	return nil
}
