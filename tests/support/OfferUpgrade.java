// Java's own HttpClient at its defaults, which offers HTTP/2 with each request.
// Arguments: the URL, the number of requests, the characters of each body.

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

public class OfferUpgrade {
    public static void main(String[] args) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        String body = "x".repeat(Integer.parseInt(args[2]));

        for (int i = 0; i < Integer.parseInt(args[1]); i++) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(args[0]))
                .POST(HttpRequest.BodyPublishers.ofString(body))
                .build();
            HttpResponse<String> response =
                client.send(request, HttpResponse.BodyHandlers.ofString());
            System.out.println(response.statusCode() + " " + response.body().length());
        }
    }
}
